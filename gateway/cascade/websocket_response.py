"""One response in a websocket, from its admission to its Outcome."""

from __future__ import annotations

import time

import msgspec

from gateway.core import Outcome, Plan, Request, Reservation
from gateway.wire.websocket.events import ServerEvent
from gateway.wire.websocket.messages import Message
from gateway.wire.websocket.sound import estimate_sound_tokens

# What is kept of a response that may be broken off: enough to estimate it by.
KEPT_TEXT_BYTES = 1 << 20


class WebsocketResponse(msgspec.Struct):
    """What is known of it while the teacher is still to answer, or answers."""

    request: Request
    plan: Plan
    reservation: Reservation | None = None
    event_id: str | None = None
    """The id of the client's event that asked for it."""
    has_own_model: bool = False
    """Whether that event named the model."""
    first_byte_ms: float = 0.0
    sound_format: str = ""
    sound_bytes: int = 0
    texts: list[bytes] = []
    text_bytes: int = 0

    def keep(self, event: ServerEvent) -> None:
        """Keep of an event with the next words or sound what an estimate needs."""
        self.sound_bytes += event.sound_bytes
        if event.delta and self.text_bytes + len(event.delta) <= KEPT_TEXT_BYTES:
            # The rest of the event is ten times as long, and says nothing of the price.
            kept = _to_sse(b'{"type":"%b","delta":%b}' % (event.type.encode(), event.delta))
            self.texts.append(kept)
            self.text_bytes += len(kept)

    def elapsed_ms(self) -> float:
        """Return for how long it has been asked for."""
        return (time.monotonic() - self.request.received_at) * 1000

    def to_outcome(self, last: Message | None) -> Outcome:
        """Return its Outcome; `last` is the event that ended it, None if it was broken off.

        It is written as a stream of server-sent events. What failed or was canceled may leave out in
        `last` what it has written before.
        """
        excerpt = last.excerpt if last else None
        events = [*self.texts, _to_sse(last.content)] if last else self.texts
        return Outcome(
            request=self.request,
            plan=self.plan,
            route=None,
            decision="bypass",
            reason="websocket",
            status=200,
            at=time.time(),
            latency_ms=self.elapsed_ms(),
            first_byte_ms=self.first_byte_ms,
            answer=b"" if excerpt else b"".join(events),
            is_event_stream=True,
            is_complete=last is not None,
            is_captured=excerpt is None,
            excerpt=excerpt,
            reservation=self.reservation,
            sound_tokens=estimate_sound_tokens(self.sound_bytes, self.sound_format),
        )


def _to_sse(content: bytes) -> bytes:
    # JSON has line breaks between values alone.
    return b"data: %b\n\n" % content.replace(b"\r", b" ").replace(b"\n", b" ")
