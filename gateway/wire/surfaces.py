"""One codec per API: it renders local answers, reads the teacher's, and lists a request's messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from gateway.core import Draft, Outcome, Reading, Request, Usage
from gateway.wire import sse
from gateway.wire.chat import reading as chat_reading
from gateway.wire.chat.answer import ChatRenderer
from gateway.wire.chat.request import chat_messages
from gateway.wire.responses import reading as responses_reading
from gateway.wire.responses.answer import ResponsesRenderer
from gateway.wire.responses.conversation import response_messages


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
    parse_answer: Callable[[bytes, str, bool, bool], Reading]
    """Takes answer, content-encoding, whether it is an event stream, whether it is complete; never raises."""
    ends_complete: Callable[[bytes], bool]
    """Takes a stream's last bytes; they may begin inside an event."""
    error_event: Callable[[bytes, str, str, str | None], bytes]
    """Takes a stream's last whole events, then message, type and code of the error that ends it."""
    messages: Callable[[Request], bytes]
    """Returns the conversation as a JSON array of chat messages."""


_CODECS = {
    "chat": SurfaceCodec(
        create_renderer=ChatRenderer,
        parse_answer=chat_reading.parse_answer,
        ends_complete=sse.ends_complete,
        error_event=sse.error_event,
        messages=chat_messages,
    ),
    "responses": SurfaceCodec(
        create_renderer=ResponsesRenderer,
        parse_answer=responses_reading.parse_answer,
        ends_complete=responses_reading.ends_complete,
        error_event=responses_reading.error_event,
        messages=response_messages,
    ),
}
# Never drafted, streamed or harvested; the usage stands where a chat completion has it.
_CODECS["embeddings"] = _CODECS["chat"]
_CODECS["other"] = _CODECS["chat"]


def codec_of(request: Request) -> SurfaceCodec:
    """Return the codec of the API of `request`."""
    return _CODECS[request.surface]


def read_outcome(outcome: Outcome) -> Reading:
    """Return what the answer of `outcome` says; never raises."""
    parse = codec_of(outcome.request).parse_answer
    return parse(outcome.answer, outcome.encoding, outcome.is_event_stream, outcome.is_complete)
