"""The reason why only the teacher can answer a Responses request."""

from __future__ import annotations

import msgspec

from gateway.core import OWN_PREFIX
from gateway.wire.body import RawFields, get_field, has_float, unsupported_field
from gateway.wire.responses.fields import ResponsesFields

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
# A local answer has no reasoning that could be encrypted; SDKs ask for it unprompted.
_EMPTY_INCLUDES = frozenset({"reasoning.encrypted_content"})
_FORMATS = frozenset({b'"text"', b'"json_object"', b'"json_schema"'})
_FUNCTION_FIELDS = frozenset({"type", "name", "description", "parameters", "strict", "output_schema"})
_UNSET = frozenset({b"null", b"false"})
# OpenAI refuses less.
_MIN_OUTPUT_TOKENS = 16


def unsupported_reason(fields: ResponsesFields, raw: RawFields) -> str:
    """Return why only the teacher can answer, as a countable phrase; empty when a specialist may.

    The items of the input are judged by `read_conversation`.
    """
    choice, is_ours = get_field(raw, "tool_choice"), (fields.model or "").startswith(OWN_PREFIX)
    checks = (
        ("background", fields.background),
        # The client will look for the stored answer at the teacher's. What an absent `store` means is
        # a question of policy, see core.Request.is_stored_by_default.
        ("store", fields.store),
        ("include", set(fields.include or ()) - _EMPTY_INCLUDES),
        ("logprobs", fields.top_logprobs),
        ("truncation", fields.truncation not in (None, "disabled")),
        ("reasoning", _asks_more(fields.reasoning, {"effort"})),
        ("text", _has_unsupported_text(fields.text)),
        ("max_output_tokens", (fields.max_output_tokens or _MIN_OUTPUT_TOKENS) < _MIN_OUTPUT_TOKENS),
        # Not the teacher's to judge where a model of ours is asked for.
        ("integral float", not is_ours and has_float(fields.max_output_tokens, fields.top_logprobs)),
        ("tools", not all(_is_plain_function(tool) for tool in fields.tools or ())),
        ("tool_choice", _is_unsupported_choice(choice, has_tools=bool(fields.tools))),
    )
    for reason, is_unsupported in checks:
        if is_unsupported:
            return reason
    return unsupported_field(raw, _HONORED, _KNOWN) or ("" if fields.model else "no model")


def _asks_more(values: dict[str, object] | None, honored: set[str]) -> bool:
    return any(value is not None for name, value in (values or {}).items() if name not in honored)


def _has_unsupported_text(text: dict[str, msgspec.Raw] | None) -> bool:
    if not text:
        return False
    if any(get_field(text, name) for name in text.keys() - {"format", "verbosity"}):
        return True
    return bool(get_field(text, "format")) and _type_of(get_field(text, "format")) not in _FORMATS


def _is_plain_function(tool: dict[str, msgspec.Raw]) -> bool:
    has_more = any(bytes(tool[name]) not in _UNSET for name in tool.keys() - _FUNCTION_FIELDS)
    return get_field(tool, "type") == b'"function"' and bool(get_field(tool, "name")) and not has_more


def _is_unsupported_choice(choice: bytes, *, has_tools: bool) -> bool:
    if choice in (b"", b'"auto"', b'"none"'):
        return False
    return not has_tools or (choice != b'"required"' and _type_of(choice) != b'"function"')


def _type_of(value: bytes) -> bytes:
    try:
        return get_field(msgspec.json.decode(value, type=dict[str, msgspec.Raw]), "type")
    except msgspec.ValidationError:
        return b""
