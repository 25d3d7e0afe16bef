"""The output format that a Responses request prescribes, in the words of the chat API.

Specialists and the validity check know only these: one form, whichever API the request came through.
"""

from __future__ import annotations

import msgspec

from gateway.wire.body import get_field

_FUNCTION = ("name", "description", "parameters", "strict")
_SCHEMA = ("name", "description", "schema", "strict")


class OutputFormat(msgspec.Struct, frozen=True):
    """Each field is JSON as in a chat request, empty when absent."""

    response_format: bytes = b""
    tools: bytes = b""
    tool_choice: bytes = b""
    wants_json: bool = False


def read_output_format(
    text: dict[str, msgspec.Raw] | None, tools: list[dict[str, msgspec.Raw]] | None, choice: bytes
) -> OutputFormat:
    """Return what a request's fields prescribe; `choice` is the JSON of `tool_choice` or empty."""
    form = _to_response_format(get_field(text or {}, "format"))
    return OutputFormat(
        response_format=form,
        tools=msgspec.json.encode([_nest(tool, "function", _FUNCTION) for tool in tools]) if tools else b"",
        tool_choice=_to_tool_choice(choice),
        wants_json=bool(form),
    )


def _to_response_format(text_format: bytes) -> bytes:
    """Return `text.format` as `response_format`, empty for plain text."""
    if not text_format:
        return b""
    fields = msgspec.json.decode(text_format, type=dict[str, msgspec.Raw])
    match bytes(fields["type"]):
        case b'"text"':
            return b""
        case b'"json_schema"':
            return msgspec.json.encode(_nest(fields, "json_schema", _SCHEMA))
    return text_format


def _to_tool_choice(choice: bytes) -> bytes:
    if not choice.startswith(b"{"):
        return choice
    fields = msgspec.json.decode(choice, type=dict[str, msgspec.Raw])
    return msgspec.json.encode(_nest(fields, "function", ("name",)))


def _nest(fields: dict[str, msgspec.Raw], under: str, names: tuple[str, ...]) -> dict[str, object]:
    """Return `fields` as the chat API nests them: all but the type one level below."""
    return {"type": fields["type"], under: {name: fields[name] for name in names if name in fields}}
