"""What a specialist cannot do in a Responses request's own terms."""

from __future__ import annotations

import msgspec

from gateway.wire.body import Fields, given, unsupported_field
from gateway.wire.responses.fields import Peek

# What a specialist honors, or may ignore without the client being able to tell.
_HONORED = frozenset(
    {"model", "input", "instructions", "stream", "stream_options", "metadata", "user"}
    | {"temperature", "top_p", "max_output_tokens", "max_tool_calls", "service_tier"}
    | {"safety_identifier", "prompt_cache_key", "prompt_cache_retention", "parallel_tool_calls"}
    # Judged by value before the names are looked at:
    | {"store", "background", "include", "reasoning", "text", "tools", "tool_choice", "top_logprobs"}
    | {"truncation"}
)
# OpenAI's other fields, counted by name.
_KNOWN = frozenset(
    {"previous_response_id", "conversation", "prompt", "context_management", "background_options"}
    | {"moderation", "prompt_cache_options", "access_programs", "image"}
)
# A local answer has no reasoning which could be encrypted; SDKs ask for it by themselves.
_EMPTY_INCLUDES = frozenset({"reasoning.encrypted_content"})
_FORMATS = frozenset({b'"text"', b'"json_object"', b'"json_schema"'})
_FUNCTION_FIELDS = frozenset({"type", "name", "description", "parameters", "strict", "output_schema"})
_UNSET = frozenset({b"null", b"false"})
# OpenAI refuses less.
_LEAST_TOKENS = 16


def unsupported_reason(peeked: Peek, fields: Fields) -> str:
    """Return why only the teacher can answer, as a countable phrase; empty when a specialist may.

    The items of the input are `conversation`'s business.
    """
    wishes = (
        ("background", peeked.background),
        # The client will look for the stored answer at the teacher's. What absence means is a
        # question of policy, see core.Request.is_stored_by_default.
        ("store", peeked.store),
        ("include", set(peeked.include or ()) - _EMPTY_INCLUDES),
        ("logprobs", peeked.top_logprobs),
        ("truncation", peeked.truncation not in (None, "disabled")),
        ("reasoning", _asks_more(peeked.reasoning, {"effort"})),
        ("text", _text_is_odd(peeked.text)),
        ("max_output_tokens", (peeked.max_output_tokens or _LEAST_TOKENS) < _LEAST_TOKENS),
        ("tools", not all(_is_plain_function(tool) for tool in peeked.tools or ())),
        ("tool_choice", _choice_is_odd(given(fields, "tool_choice"), has_tools=bool(peeked.tools))),
    )
    for reason, is_wished in wishes:
        if is_wished:
            return reason
    return unsupported_field(fields, _HONORED, _KNOWN) or ("" if peeked.model else "no model")


def _asks_more(values: dict[str, object] | None, honored: set[str]) -> bool:
    return any(value is not None for name, value in (values or {}).items() if name not in honored)


def _text_is_odd(text: dict[str, msgspec.Raw] | None) -> bool:
    if not text:
        return False
    if any(given(text, name) for name in text.keys() - {"format", "verbosity"}):
        return True
    return bool(given(text, "format")) and _type_of(given(text, "format")) not in _FORMATS


def _is_plain_function(tool: dict[str, msgspec.Raw]) -> bool:
    has_more = any(bytes(tool[name]) not in _UNSET for name in tool.keys() - _FUNCTION_FIELDS)
    return given(tool, "type") == b'"function"' and bool(given(tool, "name")) and not has_more


def _choice_is_odd(choice: bytes, *, has_tools: bool) -> bool:
    if choice in (b"", b'"auto"', b'"none"'):
        return False
    return not has_tools or (choice != b'"required"' and _type_of(choice) != b'"function"')


def _type_of(value: bytes) -> bytes:
    try:
        return given(msgspec.json.decode(value, type=dict[str, msgspec.Raw]), "type")
    except msgspec.ValidationError:
        return b""
