"""A draft that the client could not use is deferred, with a reason that can be counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.confidence.validity import invalid_reason
from gateway.core import Draft, FinishReason, Request, Token

Ask = Callable[..., Request]

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = json.dumps(
    [
        {"type": "function", "function": {"name": "find", "parameters": CITY}},
        {"type": "function", "function": {"name": "ping"}},
    ]
).encode()
FORM = json.dumps({"type": "json_schema", "json_schema": {"name": "c", "schema": CITY}}).encode()
NAMED = b'{"type":"function","function":{"name":"find"}}'


def called(name: str, arguments: object) -> str:
    block = json.dumps({"name": name, "arguments": arguments})
    return f"<tool_call>\n{block}\n</tool_call>"


FIND = called("find", {"city": "Rome"})
PING = called("ping", {})


class EmptyStream:
    """A DraftStream without further text."""

    finish_reason: FinishReason = "stop"
    completion_tokens = 0

    def __aiter__(self) -> EmptyStream:
        return self

    async def __anext__(self) -> str:
        raise StopAsyncIteration

    async def aclose(self) -> None: ...


def drafted(text: str, **more: Any) -> Draft:
    return Draft(text=text, score=1.0, task="t", version=1, **more)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (FIND, {}),
        (f"{FIND}\n{PING}", {}),
        ("Which city?", {}),
        ("Which city?", {"tool_choice": b'"none"'}),
        (FIND, {"tool_choice": b'"required"'}),
        (FIND, {"tool_choice": NAMED}),
        (FIND, {"may_call_in_parallel": False}),
        (FIND, {"wants_json": True}),
    ],
)
def test_a_call_that_the_tools_allow_is_valid(ask: Ask, text: str, fields: dict[str, object]) -> None:
    assert invalid_reason(drafted(text), ask(tools=TOOLS, **fields).demands) == ""


@pytest.mark.parametrize(
    ("text", "fields", "reason"),
    [
        (called("drop", {}), {}, "unknown tool"),
        (called("find", {}), {}, "arguments break the schema"),
        (called("find", {"city": 1}), {}, "arguments break the schema"),
        (called("find", {"city": "Rome", "n": 1}), {}, "arguments break the schema"),
        (f"{PING}\n{called('find', {})}", {}, "arguments break the schema"),
        (f"{PING}\n{PING}", {"may_call_in_parallel": False}, "parallel tool calls"),
        (PING, {"tool_choice": b'"none"'}, "no tool call allowed"),
        (PING, {"tool_choice": NAMED}, "unknown tool"),
        ("Which city?", {"tool_choice": b'"required"'}, "tool call required"),
        ("Which city?", {"tool_choice": NAMED}, "tool call required"),
        (f"Sure. {PING}", {}, "broken tool call"),
        ("<tool_call>{", {}, "broken tool call"),
        ("Which city?", {"tool_choice": b'{"type":"allowed_tools"}'}, "schema not supported"),
        (PING, {"tools": b'[{"function":7}]'}, "schema not supported"),
        (PING, {"tools": TOOLS.replace(b'"object"', b'"nonsense"', 1)}, ""),
        (FIND, {"tools": TOOLS.replace(b'"object"', b'"nonsense"', 1)}, "schema not supported"),
    ],
)
def test_a_call_that_the_client_could_not_use_is_deferred(
    ask: Ask, text: str, fields: dict[str, object], reason: str
) -> None:
    assert invalid_reason(drafted(text), ask(**{"tools": TOOLS, **fields}).demands) == reason


def test_without_tools_a_text_that_looks_like_a_call_is_a_text(ask: Ask) -> None:
    """An app may have asked for it in its own prompt."""
    assert invalid_reason(drafted(FIND), ask().demands) == ""


@pytest.mark.parametrize(
    ("text", "form", "reason"),
    [
        ('{"city": "Rome"}', FORM, ""),
        ('{"city": 7}', FORM, "draft breaks the schema"),
        ("{}", FORM, "draft breaks the schema"),
        ("Rome", FORM, "draft is not JSON"),
        ("{}", b'{"type":"json_object"}', ""),
        ("{}", FORM.replace(b'"object"', b'"nonsense"', 1), "schema not supported"),
    ],
)
def test_an_answer_in_a_prescribed_form_has_it(ask: Ask, text: str, form: bytes, reason: str) -> None:
    assert invalid_reason(drafted(text), ask(wants_json=True, response_format=form).demands) == reason


def test_a_draft_that_was_cut_is_no_answer(ask: Ask) -> None:
    assert (
        invalid_reason(drafted("two wor", finish_reason="length"), ask().demands) == "draft cut at its length"
    )


@pytest.mark.parametrize(("teacher_tokens", "is_served"), [(0, False), (9, True), (11, False)])
def test_an_answer_that_the_teacher_would_cut_is_not_served(
    ask: Ask, teacher_tokens: int, is_served: bool
) -> None:
    """The bound by letters stands in only where the teacher never said what this answer takes."""
    label = drafted("balance_not_updated_after_bank_transfer", teacher_tokens=teacher_tokens)

    assert (invalid_reason(label, ask(max_tokens=10).demands) == "") is is_served
    assert invalid_reason(label, ask().demands) == ""


def test_a_draft_without_logprobs_cannot_answer_a_client_that_wants_them(ask: Ask) -> None:
    with_logprobs = drafted("yes", tokens=(Token("yes", -0.1),))

    assert invalid_reason(drafted("yes"), ask(top_logprobs=0).demands) == "draft has no logprobs"
    assert invalid_reason(with_logprobs, ask(top_logprobs=0).demands) == ""
    assert invalid_reason(drafted("yes"), ask().demands) == ""


def test_a_beginning_is_judged_only_by_what_it_shows(ask: Ask) -> None:
    beginning = drafted("word " * 40, stream=EmptyStream())

    assert invalid_reason(beginning, ask(max_tokens=300).demands) == ""
    assert invalid_reason(beginning, ask(stop=("word word",)).demands) == "stop string in draft"
    assert invalid_reason(drafted(" ", stream=EmptyStream()), ask().demands) == "empty draft"
