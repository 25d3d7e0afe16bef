"""Recording an answer to its last byte, so that exactly one Outcome leaves the flow."""

from __future__ import annotations

import asyncio
import time
from typing import Self

from gateway.cascade.base import RequestState, Stages
from gateway.core import Body, Draft, Header, Outcome
from gateway.core.stopping import take_back_stop
from gateway.errors import SpecialistError, UpstreamError
from gateway.wire.chat.usage_chunk import drop_usage_chunk
from gateway.wire.long_answer import LongAnswer
from gateway.wire.sse import EventSplitter
from gateway.wire.surfaces import codec_of

# A longer answer is forwarded whole but not kept for the harvest: no narrow task has such answers.
CAPTURE_LIMIT_BYTES = 1 << 20
# Enough of a stream's end for the last chunk, the usage chunk and [DONE].
TAIL_BYTES = 4096


class Recorder:
    """Keeps the data for the Outcome while the answer passes, then emits the Outcome, once."""

    def __init__(
        self,
        state: RequestState,
        stages: Stages,
        status: int,
        headers: tuple[Header, ...],
        served_by: str = "",
    ) -> None:
        self._state = state
        self._served_by = served_by
        self._observe = stages.observe
        self._gate = stages.gate
        self._codec = codec_of(state.request)
        self._status = status
        # Of a header that comes twice, the first counts.
        values = dict(reversed(headers))
        self._encoding = values.get(b"content-encoding", b"").lower().decode("latin-1")
        self._is_measured = b"content-length" in values
        kind = values.get(b"content-type", b"").lower()
        is_stream = kind.startswith(b"text/event-stream")
        # Pictures, recordings and files say nothing about their price.
        self._is_readable = is_stream or b"json" in kind or not kind
        self.is_event_stream = status < 400 and is_stream
        self.hides_usage = state.hides_usage and self.is_event_stream
        self._pieces: list[bytes] = []
        self._long: LongAnswer | None = None
        self._size = 0
        self._first_byte_ms = self._latency_ms = self._finished_at = 0.0
        self._is_finished = False

    def record_body(self, body: Body) -> Body:
        """Return `body`, recorded: the same bytes, then an error event if its source breaks off."""
        return _RecordedBody(body, self)

    def note_piece(self, piece: bytes) -> None:
        """Note one piece on its way to the client."""
        if not self._size:
            self._first_byte_ms = self._elapsed_ms()
        self._size += len(piece)
        if self._size <= CAPTURE_LIMIT_BYTES:
            self._pieces.append(piece)
        elif self._is_readable:
            self._note_long(piece)

    def _note_long(self, piece: bytes) -> None:
        """Keep of a long answer what its price is read from, and of a stream its end."""
        if self._long is None:
            self._long = LongAnswer(self._encoding)
            self._long.take(b"".join(self._pieces))
        self._long.take(piece)
        if self.is_event_stream:
            self._pieces = [(b"".join(self._pieces) + piece)[-TAIL_BYTES:]]
        else:
            self._pieces.clear()

    @property
    def can_append(self) -> bool:
        """Whether our own event can follow: in an uncompressed stream of an API that we read."""
        is_known = self._state.request.surface != "other"
        return self.is_event_stream and is_known and not self._encoding and not self._is_measured

    def is_whole(self, last_events: bytes) -> bool:
        """Whether the answer that passed so far is finished; `last_events` are its last ones."""
        if not self.can_append:
            return True
        # The last event of the Responses API holds the whole answer: longer than any tail kept here.
        return self._codec.ends_complete(max(self._tail(), last_events, key=len))

    def error_event(self, last_events: bytes) -> bytes:
        """Return the event that tells the client that its answer is not whole."""
        return self._codec.error_event(last_events, "the answer was broken off", "api_error", "stream_cut")

    def finish(self, *, is_complete: bool) -> None:
        """Emit the Outcome; later calls do nothing. Never blocks, so it is safe in a cancelled task."""
        if self._is_finished:
            return
        self._is_finished = True
        self._latency_ms, self._finished_at = self._elapsed_ms(), time.time()
        late = self._state.late_draft
        if late is None or late.done():
            self._emit(is_complete, self._state.draft or _draft_of(late))
        else:
            # The teacher was faster than the draft: the evidence is worth a short wait.
            late.add_done_callback(lambda task: self._emit(is_complete, _draft_of(task)))

    def _emit(self, is_complete: bool, draft: Draft | None) -> None:
        state = self._state
        is_captured = self._size <= CAPTURE_LIMIT_BYTES
        self._observe(
            Outcome(
                request=state.request,
                plan=state.plan,
                route=state.route,
                decision=state.decision,
                reason=state.reason,
                status=self._status,
                at=self._finished_at,
                latency_ms=self._latency_ms,
                first_byte_ms=self._first_byte_ms,
                answer=b"".join(self._pieces) if is_captured else b"",
                encoding=self._encoding,
                served_by=self._served_by,
                is_event_stream=self.is_event_stream,
                is_complete=is_complete,
                is_captured=is_captured,
                excerpt=self._long.excerpt() if self._long else None,
                draft=draft,
                threshold=state.verdict.threshold if state.verdict else None,
                would_serve=self._would_serve(draft),
                audit_propensity=state.propensity,
                is_held_out=state.is_held_out,
                reservation=state.reservation,
                is_hedged=state.teacher_call is not None,
                certification=state.certification,
            )
        )

    def _would_serve(self, draft: Draft | None) -> bool:
        state = self._state
        if state.is_accepted or draft is None or state.certification is None or state.route is None:
            return state.is_accepted
        return self._gate.would_pass(draft, state.certification, state.request, state.plan, state.route)

    def _tail(self) -> bytes:
        """Return the end of the answer so far, however small its pieces were."""
        tail = b""
        for piece in reversed(self._pieces):
            if len(tail) >= TAIL_BYTES:
                break
            tail = piece + tail
        return tail[-TAIL_BYTES:]

    def _elapsed_ms(self) -> float:
        return (time.monotonic() - self._state.request.received_at) * 1000


class _RecordedBody:
    """A body that reports to its recorder.

    Of an event stream only whole events pass: after half an event, a client could not
    understand an error event.
    """

    def __init__(self, body: Body, recorder: Recorder) -> None:
        self._body = body
        self._recorder = recorder
        self._events = EventSplitter()
        self._last_events = b""
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._is_over:
            try:
                piece = await anext(self._body)
            except StopAsyncIteration:
                return self._end()
            except (UpstreamError, SpecialistError):
                if not self._recorder.can_append or self._events.is_over_limit:
                    self._is_over = True
                    self._recorder.finish(is_complete=False)
                    raise
                return self._break_off()
            except asyncio.CancelledError as exc:
                if not (self._recorder.can_append and take_back_stop(exc)):
                    raise
                return self._break_off()
            self._recorder.note_piece(piece)
            if ready := self._whole_events(piece):
                return ready
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End early: first the Outcome, because an await in a cancelled task may never return."""
        self._recorder.finish(is_complete=False)
        await self._body.aclose()

    def _whole_events(self, piece: bytes) -> bytes:
        if not self._recorder.can_append:
            return piece
        ready = self._events.feed(piece)
        if self._recorder.hides_usage and not self._events.is_over_limit:
            # Comments, and events without choices, leave nothing behind.
            ready = drop_usage_chunk(ready)
        # Comments only keep a connection alive; they do not tell how far the stream is.
        if b"data:" in ready:
            self._last_events = ready
        return ready

    def _end(self) -> bytes:
        rest = self._events.take_rest()
        if not self._recorder.is_whole(self._last_events + rest):
            return self._break_off()
        self._is_over = True
        self._recorder.finish(is_complete=True)
        if rest and not (self._recorder.hides_usage and not drop_usage_chunk(rest + b"\n\n")):
            return rest
        raise StopAsyncIteration

    def _break_off(self) -> bytes:
        # A stream that simply ends looks complete to OpenAI's clients: say that it is not.
        self._is_over = True
        self._recorder.finish(is_complete=False)
        return self._recorder.error_event(self._last_events)


def _draft_of(task: asyncio.Task[Draft] | None) -> Draft | None:
    if task is None or task.cancelled() or task.exception() is not None:
        return None
    return task.result()
