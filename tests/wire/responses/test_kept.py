"""A conversation of the Responses API is kept as that of a chat, or not at all."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gateway.wire.responses.kept import keep_responses
from gateway.wire.responses.reply import read_replies
from tests.wire.responses.requests import FIND, FORMAT, responses_request

CALL = {"type": "function_call", "call_id": "call_1", "name": "find", "arguments": '{"city":"Rome"}'}
CHAT_CALL = {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"city":"Rome"}'}}


def messages(**fields: object) -> list[dict[str, Any]]:
    kept = keep_responses(responses_request(**fields))
    assert kept is not None
    return list(json.loads(kept.messages))


def test_the_conversation_is_kept_as_chat_messages() -> None:
    """So that training need not know the API that a row came from."""
    assert messages(instructions="Sort it.") == [
        {"role": "system", "content": "Sort it."},
        {"role": "user", "content": "hello"},
    ]


def test_calls_and_their_results_are_messages() -> None:
    """Calls that stand side by side are one message; what was thought between them is none."""
    again = {**CALL, "call_id": "call_2"}
    result = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}

    told = messages(input=[{"role": "user", "content": "where?"}, CALL, {"type": "reasoning"}, again, result])

    assert told == [
        {"role": "user", "content": "where?"},
        {"role": "assistant", "content": None, "tool_calls": [CHAT_CALL, {**CHAT_CALL, "id": "call_2"}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ]


def test_images_are_parts_of_a_chat_message() -> None:
    parts = [
        {"type": "input_text", "text": "what is it?"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
    ]

    (message,) = messages(input=[{"role": "user", "content": parts}])

    assert message["content"] == [
        {"type": "text", "text": "what is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]},
        {"input": [{"type": "computer_call_output", "call_id": "c", "output": {}}]},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_half_a_conversation_is_not_kept(fields: dict[str, Any]) -> None:
    """A part that only the teacher has would be missing from every example."""
    assert keep_responses(responses_request(**fields)) is None


def test_tools_and_format_are_those_of_a_chat_whoever_could_have_answered() -> None:
    """A search of the teacher's own is no function that a student could call."""
    told = []
    for tools in ([FIND], [FIND, {"type": "web_search"}]):
        kept = keep_responses(responses_request(tools=tools, text={"format": FORMAT}))
        assert kept is not None
        told.append((json.loads(kept.tools), json.loads(kept.response_format)))

    assert told[0] == told[1]
    assert told[0][0][0]["function"]["name"] == "find"


def test_the_end_user_is_named() -> None:
    kept = keep_responses(responses_request(user="old", safety_identifier="new"))

    assert kept is not None
    assert kept.user == "new"


def response(*output: dict[str, Any], status: str = "completed") -> bytes:
    return json.dumps({"status": status, "output": output}).encode()


SAID = {"type": "message", "content": [{"type": "output_text", "text": "Let me look."}]}


def test_words_and_calls_of_a_response_are_one_message() -> None:
    (reply,) = read_replies(response({"type": "reasoning"}, SAID, CALL), False, "seed")

    assert json.loads(msgspec.json.encode(reply)) == {
        "role": "assistant",
        "content": "Let me look.",
        "tool_calls": [CHAT_CALL],
    }


def test_a_stream_says_what_the_response_at_its_end_says() -> None:
    end = b'{"type":"response.completed","response":%b}' % response(CALL)

    assert read_replies(b"data: %b\n\n" % end, True, "seed") == read_replies(response(CALL), False, "seed")


@pytest.mark.parametrize(
    "content",
    [
        response(SAID, status="incomplete"),
        response({"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}),
        response({"type": "web_search_call"}, SAID),
        response(),
        b"<html>",
    ],
    ids=["cut", "refused", "searched", "empty", "no JSON"],
)
def test_what_no_student_could_say_is_no_reply(content: bytes) -> None:
    assert read_replies(content, False, "seed") == []
