"""The few fields of a chat request that we must understand, decoded from its bytes."""

from __future__ import annotations

import msgspec

from gateway.wire.body import Integer, RawFields, read_body, read_part, unreadable_field
from gateway.wire.large_body import LARGE_BYTES, is_long, is_text, read_as_written

_UNIQUE = (b'"model"', b'"messages"', b'"stream"')


class ContentPart(msgspec.Struct):
    """One part of a message's content."""

    type: str = ""
    text: str | None = None


Content = str | list[ContentPart] | None


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
_messages = msgspec.json.Decoder(ChatMessage)
_contents: msgspec.json.Decoder[Content] = msgspec.json.Decoder(str | list[ContentPart] | None)
_parts = msgspec.json.Decoder(ContentPart)
_objects = msgspec.json.Decoder(RawFields)
_lists = msgspec.json.Decoder(list[msgspec.Raw])
_NULL = msgspec.Raw(b"null")
_EMPTY = msgspec.Raw(b'""')


def read_fields(body: bytes) -> tuple[ChatFields, RawFields]:
    """Return the known fields of a chat request, and the bytes of each top-level field.

    Raises RequestError naming the `param` for any body that OpenAI would refuse as malformed, as
    UnreadableBodyError if another teacher may understand it.
    """
    fields, raw = read_body(body, _chat_fields, _UNIQUE, apart=("messages",))
    if len(body) > LARGE_BYTES:
        fields.messages = _read_large_messages(raw["messages"])
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


def read_content(content: msgspec.Raw, place: str) -> str | list[ContentPart] | None:
    """Return the content of a message; a long text stays as it was written, with its escapes.

    Raises UnreadableBodyError naming the field, `place` or what is in it, that is not as it must be.
    """
    if not is_long(content):
        return read_part(content, _contents, place)
    if is_text(content):
        return read_as_written(content)
    pieces = enumerate(_read_list(content, place))
    return [_read_content_part(piece, f"{place}[{number}]") for number, piece in pieces]


def _read_large_messages(messages: msgspec.Raw) -> list[ChatMessage]:
    """Return the messages of a large body, one by one: one step for all would stop the whole process."""
    pieces = enumerate(_read_list(messages, "messages"))
    return [_read_message(piece, f"messages[{number}]") for number, piece in pieces]


def _read_message(message: msgspec.Raw, place: str) -> ChatMessage:
    if not is_long(message):
        return read_part(message, _messages, place)
    fields = read_part(message, _objects, place)
    content = fields.pop("content", _NULL)
    read = read_part(_encode(fields), _messages, place)
    read.content = read_content(content, f"{place}.content")
    return read


def _read_content_part(part: msgspec.Raw, place: str) -> ContentPart:
    if not is_long(part):
        return read_part(part, _parts, place)
    fields = read_part(part, _objects, place)
    text = fields.get("text", _NULL)
    is_as_written = is_long(text) and is_text(text)
    # What is neither kind nor text stays unread: an image of some MB.
    known = {"type": fields.get("type", _EMPTY), "text": _NULL if is_as_written else text}
    read = read_part(_encode(known), _parts, place)
    if is_as_written:
        read.text = read_as_written(text)
    return read


def _encode(fields: RawFields) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(fields))


def _read_list(values: msgspec.Raw, place: str) -> list[msgspec.Raw]:
    return read_part(values, _lists, place)
