"""The APIs through which one conversation can come, behind one joint: writing, reading, keeping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from gateway.core import Draft, Outcome, Reading, Request, Usage
from gateway.wire import sse
from gateway.wire.chat import reading
from gateway.wire.chat.answer import Completion
from gateway.wire.chat.request import chat_messages
from gateway.wire.responses import reading as responses_reading
from gateway.wire.responses.answer import ResponseAnswer
from gateway.wire.responses.conversation import response_messages


class Writer(Protocol):
    """One local answer in the making: whole, or a stream in one piece, or a stream as it is written."""

    def whole(self, draft: Draft, usage: Usage) -> bytes:
        """Return the JSON of the answer."""

    def stream(self, draft: Draft, usage: Usage) -> bytes:
        """Return the same answer as a whole event stream."""

    def opening(self, draft: Draft) -> bytes:
        """Return the first events, with the draft's text as far as there is one."""

    def piece(self, text: str) -> bytes:
        """Return the event of a further piece of text."""

    def closing(self, finish_reason: str, usage: Usage) -> bytes:
        """Return the events which end the stream."""


class Surface(msgspec.Struct, frozen=True, kw_only=True):
    """What differs from API to API."""

    begin: Callable[[Request, Callable[[], float]], Writer]
    """Takes a request and a clock of unix seconds."""
    read: Callable[[bytes, str, bool, bool], Reading]
    """Takes answer, content-encoding, whether it is an event stream, whether it is complete; never raises."""
    ends_complete: Callable[[bytes], bool]
    """Takes a stream's end, which may begin inside an event."""
    error_event: Callable[[bytes, str, str, str | None], bytes]
    """Takes a stream's last whole events, then message, type and code of the error which ends it."""
    messages: Callable[[Request], bytes]
    """Returns the conversation as a JSON array of chat messages."""


_SURFACES = {
    "chat": Surface(
        begin=Completion,
        read=reading.read_answer,
        ends_complete=sse.ends_complete,
        error_event=sse.error_event,
        messages=chat_messages,
    ),
    "responses": Surface(
        begin=ResponseAnswer,
        read=responses_reading.read_response,
        ends_complete=responses_reading.ends_complete,
        error_event=responses_reading.error_event,
        messages=response_messages,
    ),
}
# Never drafted, streamed or kept; where the usage stands the two are alike.
_SURFACES["embeddings"] = _SURFACES["chat"]


def surface_of(request: Request) -> Surface:
    """Return the API through which `request` came."""
    return _SURFACES[request.surface]


def read_outcome(outcome: Outcome) -> Reading:
    """Return what the answer of `outcome` says; never raises."""
    read = surface_of(outcome.request).read
    return read(outcome.answer, outcome.encoding, outcome.is_event_stream, outcome.is_complete)
