"""A Responses request becomes the same kind of Request as a chat completion."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core import Message
from gateway.errors import RequestError
from gateway.wire.large_body import LARGE_BYTES
from tests.wire.chat.requests import chat_request
from tests.wire.responses.requests import FIND, FORMAT, SCHEMA, read_responses_body, responses_request


def test_a_string_is_the_users_message() -> None:
    request = responses_request(instructions="Sort it.", store=False, stream=True, max_output_tokens=64)

    assert request.surface == "responses"
    assert request.messages == (Message("system", "Sort it."), Message("user", "hello"))
    assert (request.template_text, request.text) == ("Sort it.", "hello")
    assert (request.is_streamed, request.max_tokens, request.mode) == (True, 64, "auto")
    assert request.unsupported_reason == ""


def test_message_items_are_messages() -> None:
    """With a type or without, with a string or parts of text as content."""
    request = responses_request(
        input=[
            {"role": "developer", "content": "Be brief."},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]},
            {
                "type": "message",
                "id": "msg_1",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "b", "annotations": [], "logprobs": []}],
            },
            {
                "role": "user",
                "content": [{"type": "input_text", "text": "c"}, {"type": "input_text", "text": "d"}],
            },
        ]
    )

    assert request.unsupported_reason == ""
    assert request.template_text == "Be brief."
    assert request.text == "user: a\nassistant: b\nuser: c\nd"


def test_the_output_format_is_translated_into_fields_of_a_chat_request() -> None:
    choice = {"type": "function", "name": "find"}
    request = responses_request(text={"format": FORMAT}, tools=[FIND], tool_choice=choice)

    function = {key: FIND[key] for key in ("name", "description", "parameters", "strict")}
    named = {"name": "label", "schema": SCHEMA, "strict": True}
    assert json.loads(request.tools) == [{"type": "function", "function": function}]
    assert json.loads(request.response_format) == {"type": "json_schema", "json_schema": named}
    assert json.loads(request.tool_choice) == {"type": "function", "function": {"name": "find"}}
    assert request.wants_json


@pytest.mark.parametrize(
    ("fields", "form", "wants_json"),
    [
        ({}, b"", False),
        ({"text": None}, b"", False),
        ({"text": {"verbosity": "low"}}, b"", False),
        ({"text": {"format": {"type": "text"}}}, b"", False),
        ({"text": {"format": {"type": "json_object"}}}, b'{"type": "json_object"}', True),
    ],
)
def test_plain_text_needs_no_response_format(fields: dict[str, Any], form: bytes, wants_json: bool) -> None:
    request = responses_request(**fields)

    assert (request.response_format, request.wants_json) == (form, wants_json)
    assert request.template == responses_request(**fields).template


@pytest.mark.parametrize(
    ("fields", "is_same"),
    [
        ({"input": "another question"}, True),
        ({"store": False, "metadata": {"a": "b"}, "stream": True, "temperature": 0.1}, True),
        ({"tool_choice": "auto"}, True),
        ({"instructions": "Sort them."}, False),
        ({"model": "gpt-4o-mini"}, False),
        ({"text": {"format": FORMAT}}, False),
        ({"tools": []}, False),
        ({"tools": [FIND]}, False),
        ({"tools": [FIND], "tool_choice": "required"}, False),
    ],
)
def test_what_an_app_repeats_is_its_template(fields: dict[str, Any], is_same: bool) -> None:
    instructions = {"instructions": "Sort it."}
    plain, other = responses_request(**instructions), responses_request(**{**instructions, **fields})

    assert (plain.template == other.template) is is_same


def test_the_two_apis_share_no_task() -> None:
    """However alike: a specialist is certified on the traffic of one of them."""
    chat = chat_request({"role": "user", "content": "hello"})
    request = responses_request()

    assert (request.messages, request.text) == (chat.messages, chat.text)
    assert request.template != chat.template
    assert request.contract_hash != chat.contract_hash


@pytest.mark.parametrize(
    ("fields", "may_harvest", "is_stored"),
    [
        ({}, True, True),
        ({"store": None}, True, True),
        ({"store": False}, False, False),
        ({"store": True}, True, False),
    ],
)
def test_a_request_that_must_not_be_stored_is_not_harvested(
    fields: dict[str, Any], may_harvest: bool, is_stored: bool
) -> None:
    request = responses_request(**fields)

    assert (request.may_harvest, request.is_stored_by_default) == (may_harvest, is_stored)


def test_the_control_headers_are_obeyed() -> None:
    request = responses_request((b"x-stepdown-mode", b"shadow"), (b"x-stepdown-harvest", b"off"))

    assert (request.mode, request.may_harvest) == ("shadow", False)
    assert responses_request(model="stepdown/support").mode == "local"


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (b"[1]", None, None),
        (b'{"model": "m", "input": "a', None, None),
        (b'{"model": 1, "input": "a"}', "model", "invalid_type"),
        (b'{"model": "m", "input": 3}', "input", "invalid_type"),
        (b'{"model": "m", "input": "a", "input": "b"}', "input", "duplicate_parameter"),
        (b'{"model": "m", "input": "a", "store": false, "store": true}', "store", "duplicate_parameter"),
        (b'{"model": "m", "input": "\xff"}', None, None),
    ],
)
def test_a_malformed_body_is_refused(body: bytes, param: str | None, code: str | None) -> None:
    with pytest.raises(RequestError) as refused:
        read_responses_body(body)

    assert (refused.value.param, refused.value.code) == (param, code)


def test_a_large_request_is_read_in_steps_and_no_specialist_gets_it() -> None:
    long = "a long text\n" * (LARGE_BYTES // 10)
    written = long.replace("\n", "\\n")
    item = {"role": "user", "content": [{"type": "input_text", "text": long}]}

    one = responses_request(input=long, instructions="Sort it.")
    other = responses_request(input=[item], instructions=long, stream=True)

    assert one.messages == (Message("system", "Sort it."), Message("user", written))
    assert other.messages == (Message("system", written), Message("user", written))
    assert (other.is_streamed, one.unsupported_reason, other.unsupported_reason) == (
        True,
        *["large body"] * 2,
    )
