"""The few fields of a chat request that we must understand, decoded from its bytes."""

from __future__ import annotations

import msgspec

from gateway.wire.body import Integer, RawFields, read_body, unreadable_field

_UNIQUE = (b'"model"', b'"messages"', b'"stream"')


class ContentPart(msgspec.Struct):
    """One part of a message's content."""

    type: str = ""
    text: str | None = None


class ChatMessage(msgspec.Struct):
    """One message as sent."""

    role: str
    content: str | list[ContentPart] | None = None
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


class ChatStreamOptions(msgspec.Struct):
    """The chunks that the client wants in its stream."""

    include_usage: bool | None = None


class ResponseFormat(msgspec.Struct):
    """The kind of text that the client wants."""

    type: str


class ChatTool(msgspec.Struct):
    """A tool that the model may call: a function of the client's, or one of the teacher's own tools."""

    type: str = ""


class ChatFields(msgspec.Struct):
    """A chat request's known fields; types are checked here, ranges are the teacher's business."""

    model: str
    messages: list[ChatMessage]
    stream: bool | None = None
    stream_options: ChatStreamOptions | None = None
    n: Integer | None = None
    max_tokens: Integer | None = None
    max_completion_tokens: Integer | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: Integer | None = None
    stop: str | list[str] | None = None
    user: str | None = None
    store: bool | None = None
    logprobs: bool | None = None
    top_logprobs: Integer | None = None
    response_format: ResponseFormat | None = None
    tools: list[ChatTool] | None = None
    functions: list[msgspec.Raw] | None = None
    modalities: list[str] | None = None
    parallel_tool_calls: bool | None = None
    metadata: dict[str, msgspec.Raw] | None = None


_chat_fields = msgspec.json.Decoder(ChatFields)


def read_fields(body: bytes) -> tuple[ChatFields, RawFields]:
    """Return the known fields of a chat request, and the bytes of each top-level field.

    Raises RequestError naming the `param` for any body that OpenAI would refuse as malformed, as
    UnreadableBodyError if another teacher may understand it.
    """
    fields, raw = read_body(body, _chat_fields, _UNIQUE)
    if not fields.model:
        raise unreadable_field("you must provide a model parameter", "model")
    if not fields.messages:
        raise unreadable_field(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty "
            "array instead.",
            "messages",
            "empty_array",
        )
    return fields, raw
