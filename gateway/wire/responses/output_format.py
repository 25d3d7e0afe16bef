"""The form which a Responses request demands of its answer, in the words of the chat API.

Whoever drafts and judges knows only these: one form of a demand, whichever way it came.
"""

from __future__ import annotations

import msgspec

from gateway.wire.body import given

_FUNCTION = ("name", "description", "parameters", "strict")


class Demands(msgspec.Struct, frozen=True):
    """Each is JSON as a chat request's field has it, empty when absent."""

    response_format: bytes = b""
    tools: bytes = b""
    tool_choice: bytes = b""
    wants_json: bool = False


def read_demands(
    text: dict[str, msgspec.Raw] | None, tools: list[dict[str, msgspec.Raw]] | None, choice: bytes
) -> Demands:
    """Return the demands in a request's fields, of which `choice` is JSON or empty."""
    form = _form(given(text or {}, "format"))
    return Demands(
        response_format=form,
        tools=msgspec.json.encode([_nested(tool, "function", _FUNCTION) for tool in tools]) if tools else b"",
        tool_choice=_choice(choice),
        wants_json=bool(form),
    )


def _form(asked: bytes) -> bytes:
    """Return `text.format` as `response_format`, empty for plain text."""
    if not asked:
        return b""
    fields = msgspec.json.decode(asked, type=dict[str, msgspec.Raw])
    match bytes(fields["type"]):
        case b'"text"':
            return b""
        case b'"json_schema"':
            return msgspec.json.encode(
                _nested(fields, "json_schema", ("name", "description", "schema", "strict"))
            )
    return asked


def _choice(choice: bytes) -> bytes:
    if not choice.startswith(b"{"):
        return choice
    return msgspec.json.encode(
        _nested(msgspec.json.decode(choice, type=dict[str, msgspec.Raw]), "function", ("name",))
    )


def _nested(fields: dict[str, msgspec.Raw], under: str, names: tuple[str, ...]) -> dict[str, object]:
    """Return `fields` as the chat API has them: all but the type one level below."""
    return {"type": fields["type"], under: {name: fields[name] for name in names if name in fields}}
