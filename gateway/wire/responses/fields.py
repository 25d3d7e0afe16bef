"""The few fields of a Responses request that we must understand, decoded from its bytes."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.wire.body import Integer, RawFields, read_body, read_part
from gateway.wire.large_body import LARGE_BYTES, is_long, read_as_written

_UNIQUE = (b'"model"', b'"input"', b'"instructions"', b'"stream"', b'"store"')


class InputItem(msgspec.Struct):
    """One item of the input: a message, or one of the many other kinds of item that may stand there."""

    type: str | None = None
    role: str | None = None
    content: msgspec.Raw = msgspec.Raw(b"null")


class ResponsesFields(msgspec.Struct):
    """A Responses request's known fields; types are checked here, ranges are the teacher's business.

    Model and input may be absent: a prompt template can hold both.
    """

    model: str | None = None
    input: str | list[InputItem] | None = None
    instructions: str | None = None
    stream: bool | None = None
    store: bool | None = None
    background: bool | None = None
    include: list[str] | None = None
    max_output_tokens: Integer | None = None
    parallel_tool_calls: bool | None = None
    reasoning: dict[str, Any] | None = None
    stream_options: dict[str, Any] | None = None
    temperature: float | None = None
    text: dict[str, msgspec.Raw] | None = None
    tools: list[dict[str, msgspec.Raw]] | None = None
    top_logprobs: Integer | None = None
    top_p: float | None = None
    truncation: str | None = None


_responses_fields = msgspec.json.Decoder(ResponsesFields)
_items = msgspec.json.Decoder(list[InputItem])


def read_fields(body: bytes) -> tuple[ResponsesFields, RawFields]:
    """Return the known fields of a Responses request, and the bytes of each top-level field.

    Raises RequestError naming the `param` for any body that OpenAI would refuse as malformed, as
    UnreadableBodyError if another teacher may understand it.
    """
    fields, raw = read_body(body, _responses_fields, _UNIQUE, apart=("input",))
    if len(body) > LARGE_BYTES:
        _read_long(fields, raw)
    return fields, raw


def _read_long(fields: ResponsesFields, raw: RawFields) -> None:
    """Read what was left empty in a large body: long texts stay as they were written."""
    if isinstance(fields.input, list):
        fields.input = read_part(raw["input"], _items, "input")
    elif fields.input is not None and is_long(raw["input"]):
        fields.input = read_as_written(raw["input"])
    if fields.instructions is not None and is_long(raw["instructions"]):
        fields.instructions = read_as_written(raw["instructions"])
