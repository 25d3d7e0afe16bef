"""A chat request keeps its bytes and yields the facts that decide who answers."""

from __future__ import annotations

import pytest

from gateway.core import Message
from gateway.errors import RequestError
from tests.wire.chat.requests import HELLO, chat_request, read_chat_body

SYSTEM: dict[str, object] = {"role": "system", "content": "You label tickets."}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


def test_the_body_is_kept_as_it_came() -> None:
    body = b'{ "messages":[{"role":"user","content":"hi"}],\n"model":"m", "new_field":1.0}'

    request = read_chat_body(body, (b"x-app", b"1"), is_trusted=False)

    assert request.body is body
    assert request.headers == ((b"x-app", b"1"),)
    assert (request.id, request.caller, request.is_trusted) == ("id", "me", False)


def test_a_lone_user_message_is_the_text() -> None:
    request = chat_request(SYSTEM, {"role": "user", "content": "my card is lost"})

    assert request.text == "my card is lost"
    assert request.template_text == "You label tickets."
    assert request.messages == (
        Message("system", "You label tickets."),
        Message("user", "my card is lost"),
    )


def test_a_conversation_becomes_text_with_its_roles() -> None:
    question, bye = {"role": "assistant", "content": "yes?"}, {"role": "user", "content": "bye"}

    request = chat_request(SYSTEM, HELLO, question, bye)

    assert request.text == "user: hello\nassistant: yes?\nuser: bye"


def test_developer_and_system_messages_are_the_template_wherever_they_stand() -> None:
    request = chat_request(SYSTEM, HELLO, {"role": "developer", "content": "Be brief."})

    assert request.template_text == "You label tickets.\nBe brief."
    assert request.text == "hello"


def test_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]

    assert chat_request({"role": "user", "content": parts}).text == "one\ntwo"


def test_null_content_is_no_text() -> None:
    request = chat_request({"role": "assistant", "content": None}, HELLO)

    assert request.text == "assistant: \nuser: hello"


def test_the_varying_part_does_not_change_the_template() -> None:
    first = chat_request(SYSTEM, HELLO, temperature=0.0)
    second = chat_request(SYSTEM, {"role": "user", "content": "other"}, stream=True)

    assert (first.template, first.contract_hash) == (second.template, second.contract_hash)
    assert len(first.template) == 32


@pytest.mark.parametrize(
    "fields", [{"tools": [TOOL]}, {"response_format": {"type": "json_object"}}, {"model": "gpt-4o-mini"}]
)
def test_model_tools_and_format_change_template_and_contract_hash(fields: dict[str, object]) -> None:
    plain, other = chat_request(SYSTEM, HELLO), chat_request(SYSTEM, HELLO, **fields)

    assert plain.template != other.template
    assert plain.contract_hash != other.contract_hash


def test_the_system_message_changes_the_template_only() -> None:
    plain = chat_request(SYSTEM, HELLO)
    other = chat_request({"role": "system", "content": "You translate."}, HELLO)

    assert plain.template != other.template
    assert plain.contract_hash == other.contract_hash


def test_fields_cannot_run_into_each_other() -> None:
    """The end of one hashed field and the beginning of the next are not interchangeable."""
    one = chat_request({"role": "system", "content": "c"}, HELLO, model="ab")
    two = chat_request({"role": "system", "content": "bc"}, HELLO, model="a")

    assert one.template != two.template


def test_stream_and_usage_are_seen() -> None:
    request = chat_request(stream=True, stream_options={"include_usage": True})

    assert (request.is_streamed, request.wants_usage) == (True, True)
    assert not chat_request(stream=None).is_streamed
    assert not chat_request(stream_options=None).wants_usage


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 0, "max_tokens": 5}, 0),
        ({"max_completion_tokens": None, "max_tokens": 5}, 5),
    ],
)
def test_the_newer_name_of_max_tokens_wins(fields: dict[str, object], expected: int | None) -> None:
    assert chat_request(**fields).max_tokens == expected


@pytest.mark.parametrize(
    ("stop", "expected"), [(None, ()), ("a", ("a",)), (["a", "b"], ("a", "b")), ([], ())]
)
def test_stop_is_one_or_many(stop: object, expected: tuple[str, ...]) -> None:
    assert chat_request(stop=stop).stop == expected


@pytest.mark.parametrize(
    ("kind", "expected"), [("text", False), ("json_object", True), ("json_schema", True)]
)
def test_json_is_wanted_when_the_format_says_so(kind: str, expected: bool) -> None:
    assert chat_request(response_format={"type": kind}).wants_json is expected


def test_tools_and_format_are_kept_as_they_came() -> None:
    body = (
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"tools": [ {"type":"function"} ],'
        b'"tool_choice" : {"type":"function","function":{"name":"f"}} ,"parallel_tool_calls":false,'
        b'"response_format":{ "type":"text" },"seed":7}'
    )

    request = read_chat_body(body)

    assert request.tools == b'[ {"type":"function"} ]'
    assert request.tool_choice == b'{"type":"function","function":{"name":"f"}}'
    assert request.response_format == b'{ "type":"text" }'
    assert (request.may_call_in_parallel, request.seed) == (False, 7)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"stream": False}, False),
        ({"tools": [TOOL]}, False),
        ({"response_format": {"type": "json_object"}}, False),
        ({"logprobs": True}, False),
    ],
)
def test_only_free_text_may_begin_before_its_end_is_known(fields: dict[str, object], expected: bool) -> None:
    assert chat_request(**{"stream": True, **fields}).may_begin_early is expected


def test_null_is_as_good_as_absent() -> None:
    names = ("tools", "tool_choice", "response_format", "parallel_tool_calls", "seed")

    nulls = chat_request(**dict.fromkeys(names))

    assert (nulls.tools, nulls.tool_choice, nulls.response_format) == (b"", b"", b"")
    assert (nulls.may_call_in_parallel, nulls.seed) == (True, None)
    assert nulls.template == chat_request().template


@pytest.mark.parametrize(
    ("choice", "is_another"),
    [("auto", False), (None, False), ("required", True), ("none", True), (TOOL, True)],
)
def test_a_forced_tool_makes_another_task(choice: object, is_another: bool) -> None:
    plain, other = chat_request(tools=[TOOL]), chat_request(tools=[TOOL], tool_choice=choice)

    assert (plain.template != other.template, plain.contract_hash != other.contract_hash) == (
        is_another,
        is_another,
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"logprobs": False}, None),
        ({"logprobs": True}, 0),
        ({"logprobs": True, "top_logprobs": 5}, 5),
    ],
)
def test_logprobs_are_wanted_with_so_many_alternatives(
    fields: dict[str, object], expected: int | None
) -> None:
    assert chat_request(**fields).top_logprobs == expected


@pytest.mark.parametrize("mode", ["auto", "teacher", "local", "shadow"])
def test_the_mode_comes_from_its_header(mode: str) -> None:
    body = chat_request().body

    assert read_chat_body(body, (b"x-stepdown-mode", mode.upper().encode())).mode == mode
    assert read_chat_body(body).mode == "auto"


def test_an_unknown_mode_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(RequestError, match="auto, teacher, local, shadow") as refusal:
        read_chat_body(chat_request().body, (b"x-stepdown-mode", b"\xff"))

    assert refusal.value.param == "x-stepdown-mode"


def test_a_request_that_must_not_be_kept_is_not_harvested() -> None:
    assert chat_request().may_harvest
    assert not chat_request(store=False).may_harvest
    assert not read_chat_body(chat_request().body, (b"x-stepdown-harvest", b"off")).may_harvest
    assert read_chat_body(chat_request().body, (b"x-stepdown-harvest", b"on")).may_harvest
