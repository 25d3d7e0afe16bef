"""Whether a draft can answer the request at all, no matter how sure the specialist is."""

from __future__ import annotations

import msgspec

from gateway.core import Demands, Draft
from gateway.wire.schema import SchemaError, answer_schema, is_valid, tool_schemas
from gateway.wire.tool_calls import CALL_BEGIN, ToolCall, parse_tool_calls


def invalid_reason(draft: Draft, demands: Demands) -> str:
    """Return why `draft` cannot meet `demands`, as a short countable phrase; empty if it can.

    Of a draft that is still being written only the beginning is judged.
    """
    if not draft.text.strip():
        return "empty draft"
    if demands.top_logprobs is not None and not draft.tokens:
        return "draft has no logprobs"
    if any(stop and stop in draft.text for stop in demands.stop):
        return "stop string in draft"
    if draft.stream is not None:
        return ""
    return _invalid_length(draft, demands) or _invalid_form(draft, demands)


def _invalid_length(draft: Draft, demands: Demands) -> str:
    """Return why the teacher would have ended its answer elsewhere; empty if it would not."""
    if draft.finish_reason == "length" and not (demands.may_begin_early and _is_decided_early(draft)):
        return "draft cut at its length"
    # What the teacher really took: for half of Banking77's labels the bound is above ten tokens.
    tokens = draft.teacher_tokens or token_upper_bound(draft.text)
    if demands.max_tokens is not None and tokens > demands.max_tokens:
        return "draft longer than max_tokens"
    return ""


def _is_decided_early(draft: Draft) -> bool:
    """Whether the score speaks of the beginning: a stream would have carried the answer to its cut."""
    return draft.trace is not None and len(draft.trace.logprobs) < draft.completion_tokens


def _invalid_form(draft: Draft, demands: Demands) -> str:
    """Return why `draft` does not have the form that the client demands; empty if it has."""
    try:
        if demands.tools and CALL_BEGIN in draft.text:
            return _invalid_calls(parse_tool_calls(draft.text), demands)
        if demands.tools and _choice_of(demands.tool_choice) not in ("auto", "none"):
            return "tool call required"
        return _invalid_json(draft, demands) if demands.wants_json else ""
    except (SchemaError, msgspec.MsgspecError, RecursionError):
        # The teacher may support it.
        return "schema not supported"


def _invalid_json(draft: Draft, demands: Demands) -> str:
    if not _is_json_object(draft.text):
        return "draft is not JSON"
    schema = answer_schema(demands.response_format) if demands.response_format else None
    return "draft breaks the schema" if schema and not is_valid(draft.text, schema) else ""


def _invalid_calls(calls: tuple[ToolCall, ...] | None, demands: Demands) -> str:
    """Return why the client's tools do not allow `calls` (None if broken); empty if they do."""
    choice, schemas = _choice_of(demands.tool_choice), tool_schemas(demands.tools)
    if not calls:
        return "broken tool call"
    if choice == "none":
        return "no tool call allowed"
    if len(calls) > 1 and not demands.may_call_in_parallel:
        return "parallel tool calls"
    for call in calls:
        if call.name not in schemas or choice not in ("auto", "required", call.name):
            return "unknown tool"
        if not is_valid(call.arguments_text, schemas[call.name]):
            return "arguments break the schema"
    return ""


class _Name(msgspec.Struct):
    name: str


class _NamedChoice(msgspec.Struct):
    function: _Name


def _choice_of(tool_choice: bytes) -> str:
    """Return "auto", "none", "required", or the name of the function that must be called.

    Raises ValidationError for kinds of choices that OpenAI has added since.
    """
    if not tool_choice:
        return "auto"
    choice = msgspec.json.decode(tool_choice, type=str | _NamedChoice)
    return choice if isinstance(choice, str) else choice.function.name


def token_upper_bound(text: str) -> int:
    """Return a number of tokens that no usual tokenizer exceeds for `text`.

    One token per two letters (in words it is three to five), and one per byte of anything else.
    To defer one draft too many costs one call; to serve a text that the teacher would have cut is
    a wrong answer.
    """
    letters = sum(character.isascii() and character.isalpha() for character in text)
    return (letters + 1) // 2 + len(text.encode("utf-8", "replace")) - letters


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return False
