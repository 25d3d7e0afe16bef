"""A chat request keeps its bytes and gives the facts which decide who answers."""

from __future__ import annotations

import pytest

from gateway.core import Message
from gateway.errors import RequestError
from tests.wire.ask import HELLO, ask, read

SYSTEM: dict[str, object] = {"role": "system", "content": "You label tickets."}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


def test_the_body_is_kept_as_it_came() -> None:
    body = b'{ "messages":[{"role":"user","content":"hi"}],\n"model":"m", "new_field":1.0}'

    request = read(body, (b"x-app", b"1"), is_trusted=False)

    assert request.body is body
    assert request.headers == ((b"x-app", b"1"),)
    assert (request.id, request.caller, request.is_trusted) == ("id", "me", False)


def test_a_lone_user_message_is_the_text() -> None:
    request = ask(SYSTEM, {"role": "user", "content": "my card is lost"})

    assert request.text == "my card is lost"
    assert request.template_text == "You label tickets."
    assert request.messages == (
        Message("system", "You label tickets."),
        Message("user", "my card is lost"),
    )


def test_a_conversation_is_told_with_its_roles() -> None:
    request = ask(SYSTEM, HELLO, {"role": "assistant", "content": "yes?"}, {"role": "user", "content": "bye"})

    assert request.text == "user: hello\nassistant: yes?\nuser: bye"


def test_developer_and_system_messages_are_the_template_wherever_they_stand() -> None:
    request = ask(SYSTEM, HELLO, {"role": "developer", "content": "Be brief."})

    assert request.template_text == "You label tickets.\nBe brief."
    assert request.text == "hello"


def test_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]

    assert ask({"role": "user", "content": parts}).text == "one\ntwo"


def test_null_content_is_no_text() -> None:
    request = ask({"role": "assistant", "content": None}, HELLO)

    assert request.text == "assistant: \nuser: hello"


def test_what_varies_does_not_change_the_template() -> None:
    first = ask(SYSTEM, HELLO, temperature=0.0)
    second = ask(SYSTEM, {"role": "user", "content": "other"}, stream=True)

    assert (first.template, first.contract_hash) == (second.template, second.contract_hash)
    assert len(first.template) == 32


@pytest.mark.parametrize(
    "fields", [{"tools": [TOOL]}, {"response_format": {"type": "json_object"}}, {"model": "gpt-4o-mini"}]
)
def test_model_tools_and_format_change_template_and_guard(fields: dict[str, object]) -> None:
    plain, other = ask(SYSTEM, HELLO), ask(SYSTEM, HELLO, **fields)

    assert plain.template != other.template
    assert plain.contract_hash != other.contract_hash


def test_the_system_message_changes_the_template_only() -> None:
    plain, other = ask(SYSTEM, HELLO), ask({"role": "system", "content": "You translate."}, HELLO)

    assert plain.template != other.template
    assert plain.contract_hash == other.contract_hash


def test_fields_cannot_run_into_each_other() -> None:
    """The end of one hashed field and the beginning of the next are not interchangeable."""
    one = read(b'{"model":"ab","messages":[{"role":"system","content":"c"},{"role":"user","content":"x"}]}')
    two = read(b'{"model":"a","messages":[{"role":"system","content":"bc"},{"role":"user","content":"x"}]}')

    assert one.template != two.template


def test_stream_and_usage_are_seen() -> None:
    request = ask(stream=True, stream_options={"include_usage": True})

    assert (request.is_streamed, request.wants_usage) == (True, True)
    assert (ask(stream=None).is_streamed, ask(stream_options=None).wants_usage) == (False, False)


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
    assert ask(**fields).max_tokens == expected


@pytest.mark.parametrize(
    ("stop", "expected"), [(None, ()), ("a", ("a",)), (["a", "b"], ("a", "b")), ([], ())]
)
def test_stop_is_one_or_many(stop: object, expected: tuple[str, ...]) -> None:
    assert ask(stop=stop).stop == expected


@pytest.mark.parametrize(
    ("kind", "expected"), [("text", False), ("json_object", True), ("json_schema", True)]
)
def test_json_is_wanted_when_the_format_says_so(kind: str, expected: bool) -> None:
    assert ask(response_format={"type": kind}).wants_json is expected


def test_tools_and_format_are_kept_as_they_came() -> None:
    body = (
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"tools": [ {"type":"function"} ],'
        b'"tool_choice" : {"type":"function","function":{"name":"f"}} ,"parallel_tool_calls":false,'
        b'"response_format":{ "type":"text" },"seed":7}'
    )

    request = read(body)

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
    assert ask(**{"stream": True, **fields}).may_begin_early is expected


def test_null_is_as_good_as_absent() -> None:
    nothing = ask(tools=None, tool_choice=None, response_format=None, parallel_tool_calls=None, seed=None)

    assert (nothing.tools, nothing.tool_choice, nothing.response_format) == (b"", b"", b"")
    assert (nothing.may_call_in_parallel, nothing.seed) == (True, None)
    assert nothing.template == ask().template


@pytest.mark.parametrize(
    ("choice", "is_another"),
    [("auto", False), (None, False), ("required", True), ("none", True), (TOOL, True)],
)
def test_a_forced_tool_makes_another_task(choice: object, is_another: bool) -> None:
    plain, other = ask(tools=[TOOL]), ask(tools=[TOOL], tool_choice=choice)

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
    assert ask(**fields).top_logprobs == expected


@pytest.mark.parametrize("mode", ["auto", "teacher", "local", "shadow"])
def test_the_mode_comes_from_its_header(mode: str) -> None:
    body = ask().body

    assert read(body, (b"x-stepdown-mode", mode.upper().encode())).mode == mode
    assert read(body).mode == "auto"


def test_an_unknown_mode_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(RequestError, match="auto, teacher, local, shadow") as refusal:
        read(ask().body, (b"x-stepdown-mode", b"\xff"))

    assert refusal.value.param == "x-stepdown-mode"


def test_who_does_not_want_to_be_kept_is_not_kept() -> None:
    assert ask().may_harvest
    assert not ask(store=False).may_harvest
    assert not read(ask().body, (b"x-stepdown-harvest", b"off")).may_harvest
    assert read(ask().body, (b"x-stepdown-harvest", b"on")).may_harvest
