"""The few facts of a chat request which we must understand, taken out of its bytes."""

from __future__ import annotations

import msgspec

from gateway.errors import RequestError
from gateway.wire.body import Fields, read_body

_JUDGED = (b'"model"', b'"messages"', b'"stream"')


class Part(msgspec.Struct):
    """One part of a message's content."""

    type: str = ""
    text: str | None = None


class Turn(msgspec.Struct):
    """One message as sent."""

    role: str
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[msgspec.Raw] | None = None
    function_call: dict[str, msgspec.Raw] | None = None
    audio: dict[str, msgspec.Raw] | None = None

    @property
    def text(self) -> str:
        """The text of the content, parts joined by newline."""
        if isinstance(self.content, list):
            return "\n".join(part.text or "" for part in self.content)
        return self.content or ""


class StreamOptions(msgspec.Struct):
    """How the client wants its stream."""

    include_usage: bool | None = None


class ResponseFormat(msgspec.Struct):
    """What kind of text the client wants."""

    type: str


class Tool(msgspec.Struct):
    """What the model may call: a function of the client's, or something of the teacher's own."""

    type: str = ""


class Peek(msgspec.Struct):
    """A chat request's known fields; types are checked here, ranges are the teacher's business."""

    model: str
    messages: list[Turn]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    user: str | None = None
    store: bool | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = None
    functions: list[msgspec.Raw] | None = None
    modalities: list[str] | None = None
    parallel_tool_calls: bool | None = None
    metadata: dict[str, msgspec.Raw] | None = None


_peeks = msgspec.json.Decoder(Peek)


def peek(body: bytes) -> tuple[Peek, Fields]:
    """Return the known fields of a chat request, and the bytes of each top-level field.

    Raises RequestError naming the `param` for whatever OpenAI would refuse as malformed.
    """
    peeked, fields = read_body(body, _peeks, _JUDGED)
    if not peeked.model:
        raise RequestError("you must provide a model parameter", param="model")
    if not peeked.messages:
        raise RequestError(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty "
            "array instead.",
            param="messages",
            code="empty_array",
        )
    return peeked, fields
