"""One codec per API: it renders local answers, reads the teacher's, and says what is kept of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from gateway.core import Draft, Excerpt, Outcome, Reading, Request, SurfaceName, Usage
from gateway.wire import any_answer, sse
from gateway.wire.answer_decoding import AnswerTooLongError, DamagedAnswerError, decode_answer
from gateway.wire.billing import read_excerpt
from gateway.wire.chat import reading as chat_reading
from gateway.wire.chat import reply as chat_reply
from gateway.wire.chat.answer import ChatRenderer
from gateway.wire.chat.kept import keep_chat
from gateway.wire.conversation import Conversation
from gateway.wire.long_answer import LongAnswer
from gateway.wire.replies import Reply
from gateway.wire.responses import reading as responses_reading
from gateway.wire.responses import reply as responses_reply
from gateway.wire.responses.answer import ResponsesRenderer
from gateway.wire.responses.kept import keep_responses
from gateway.wire.sse import last_event_end


class Renderer(Protocol):
    """Renders one local answer: whole, as a finished stream, or event by event while it is written."""

    def render_whole(self, draft: Draft, usage: Usage) -> bytes:
        """Return the JSON of the answer."""

    def render_stream(self, draft: Draft, usage: Usage) -> bytes:
        """Return the same answer as a whole event stream."""

    def render_opening(self, draft: Draft) -> bytes:
        """Return the first events, with the draft's text so far."""

    def render_piece(self, text: str) -> bytes:
        """Return the event of a further piece of text."""

    def render_closing(self, finish_reason: str, usage: Usage) -> bytes:
        """Return the events that end the stream."""


class SurfaceCodec(msgspec.Struct, frozen=True, kw_only=True):
    """The functions that differ from API to API."""

    create_renderer: Callable[[Request, Callable[[], float]], Renderer]
    """Takes a request and a clock of unix seconds."""
    parse_answer: Callable[[bytes, bool, bool], Reading]
    """Takes an answer without its content-encoding, whether it is an event stream, whether it is complete;
    never raises."""
    ends_complete: Callable[[bytes], bool]
    """Takes a stream's last bytes; they may begin inside an event."""
    error_event: Callable[[bytes, str, str, str | None], bytes]
    """Takes a stream's last whole events, then message, type and code of the error that ends it."""
    keep_request: Callable[[Request], Conversation | None]
    """Returns what is kept of a request; None if a chat could not say the same."""
    read_replies: Callable[[bytes, bool, str], list[Reply]]
    """Takes an answer without its content-encoding, whether it is an event stream, and a seed for ids."""


_CODECS = {
    "chat": SurfaceCodec(
        create_renderer=ChatRenderer,
        parse_answer=chat_reading.parse_answer,
        ends_complete=sse.ends_complete,
        error_event=sse.error_event,
        keep_request=keep_chat,
        read_replies=chat_reply.read_replies,
    ),
    "responses": SurfaceCodec(
        create_renderer=ResponsesRenderer,
        parse_answer=responses_reading.parse_answer,
        ends_complete=responses_reading.ends_complete,
        error_event=responses_reading.error_event,
        keep_request=keep_responses,
        read_replies=responses_reply.read_replies,
    ),
}
# Never drafted or harvested, and their streams end as those of the chat API do.
_CODECS["embeddings"] = _CODECS["other"] = msgspec.structs.replace(
    _CODECS["chat"], parse_answer=any_answer.parse_answer
)


def codec_of(request: Request) -> SurfaceCodec:
    """Return the codec of the API of `request`."""
    return find_codec(request.surface)


def find_codec(surface: SurfaceName) -> SurfaceCodec:
    """Return the codec of an API."""
    return _CODECS[surface]


def read_outcome(outcome: Outcome) -> Reading:
    """Return what the answer of `outcome` says; never raises."""
    if outcome.excerpt is not None:
        return _read_excerpt(outcome.excerpt, outcome)
    try:
        content = decode_answer(outcome.answer, outcome.encoding)
    except AnswerTooLongError:
        answer = LongAnswer(outcome.encoding)
        answer.take(outcome.answer)
        return _read_excerpt(answer.excerpt(), outcome)
    except DamagedAnswerError:
        return Reading(text=None)
    return codec_of(outcome.request).parse_answer(content, outcome.is_event_stream, outcome.is_complete)


def read_replies(outcome: Outcome) -> list[Reply]:
    """Return the messages in the answer of `outcome` that could be trained on; never raises."""
    try:
        content = decode_answer(outcome.answer, outcome.encoding)
    except (AnswerTooLongError, DamagedAnswerError):
        return []
    request = outcome.request
    return codec_of(request).read_replies(content, outcome.is_event_stream, request.id)


def _read_excerpt(excerpt: Excerpt, outcome: Outcome) -> Reading:
    """Return what an answer took that was too long to be kept; its text is no narrow task's."""
    facts = read_excerpt(excerpt)
    return Reading(
        text=None,
        model=facts.model,
        usage=facts.usage,
        written_bytes=_estimate_written(excerpt, outcome) if facts.usage is None else 0,
        service_tier=facts.service_tier,
        id=facts.id,
    )


def _estimate_written(excerpt: Excerpt, outcome: Outcome) -> int:
    """Return how much was written if the rest is like the head; of a body that is no stream, all of it."""
    if not outcome.is_event_stream:
        is_answer = b'"choices"' in excerpt.head or b'"output"' in excerpt.head
        return excerpt.size_bytes if is_answer else 0
    head = excerpt.head[: last_event_end(excerpt.head)]
    reading = codec_of(outcome.request).parse_answer(head, True, False)
    return round(reading.written_bytes * excerpt.size_bytes / len(head)) if head else 0
