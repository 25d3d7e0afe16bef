"""Following an answer to its last byte, so that exactly one Outcome leaves the flow."""

from __future__ import annotations

import asyncio
import time
from typing import Self

from gateway.cascade.base import Observer, RequestState
from gateway.core import Body, Draft, Header, Outcome
from gateway.errors import SpecialistError, UpstreamError
from gateway.wire.sse import last_event_end
from gateway.wire.surfaces import surface_of

# Longer answers are forwarded whole but not kept for the harvest: they are no narrow task.
CAPTURE_LIMIT_BYTES = 1 << 20
# Enough of a stream's end to hold the last chunk, the usage chunk and [DONE].
TAIL_BYTES = 4096


class Recorder:
    """Keeps what the Outcome needs while the answer passes, and lets the Outcome go once."""

    def __init__(
        self, state: RequestState, observe: Observer, status: int, headers: tuple[Header, ...]
    ) -> None:
        self._case = state
        self._observe = observe
        self._surface = surface_of(state.request)
        self._status = status
        values = {name.lower(): value.lower() for name, value in reversed(headers)}
        self._encoding = values.get(b"content-encoding", b"").decode("latin-1")
        self._is_measured = b"content-length" in values
        is_stream = values.get(b"content-type", b"").startswith(b"text/event-stream")
        self.is_event_stream = status < 400 and is_stream
        self._pieces: list[bytes] = []
        self._size = 0
        self._first_byte_ms = self._latency_ms = self._finished_at = 0.0
        self._is_finished = False

    def follow(self, body: Body) -> Body:
        """Return `body`, watched: same bytes, and an error event where its source broke off."""
        return _Followed(body, self)

    def saw(self, piece: bytes) -> None:
        """Note one piece on its way to the client."""
        if not self._size:
            self._first_byte_ms = self._elapsed_ms()
        self._size += len(piece)
        if self._size <= CAPTURE_LIMIT_BYTES or self.is_event_stream:
            self._pieces.append(piece)
        if self._size > CAPTURE_LIMIT_BYTES and self.is_event_stream:
            self._pieces = [b"".join(self._pieces)[-TAIL_BYTES:]]

    @property
    def can_append(self) -> bool:
        """Whether an event of ours can follow what passed: only in plain text of no announced length."""
        return self.is_event_stream and not self._encoding and not self._is_measured

    def ended_whole(self, last: bytes) -> bool:
        """Return whether what passed so far is a finished answer; `last` are its last events."""
        if not self.can_append:
            return True
        # The last event of the Responses API holds the whole answer: longer than any tail we keep.
        return self._surface.ends_complete(max(self._tail(), last, key=len))

    def error_event(self, last: bytes) -> bytes:
        """Return the event which says that what passed is no whole answer; `last` are its last events."""
        return self._surface.error_event(last, "the answer was broken off", "api_error", "stream_cut")

    def finish(self, *, is_complete: bool) -> None:
        """Let the Outcome go; later calls do nothing. Never blocks, so it is safe in a cancelled task."""
        if self._is_finished:
            return
        self._is_finished = True
        self._latency_ms, self._finished_at = self._elapsed_ms(), time.time()
        late = self._case.late_draft
        if late is None or late.done():
            self._emit(is_complete, self._case.draft or _drafted(late))
        else:
            # The teacher was faster than the draft: the evidence is worth the short wait.
            late.add_done_callback(lambda task: self._emit(is_complete, _drafted(task)))

    def _emit(self, is_complete: bool, draft: Draft | None) -> None:
        state = self._case
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
                is_event_stream=self.is_event_stream,
                is_complete=is_complete,
                is_captured=is_captured,
                draft=draft,
                threshold=state.standing.threshold if state.standing else None,
                would_serve=state.would_serve(draft),
                audit_propensity=state.propensity,
                is_held_out=state.is_held_out,
                is_hedged=state.teacher_call is not None,
                epoch=state.standing.epoch if state.standing else 0,
            )
        )

    def _tail(self) -> bytes:
        """Return the end of what passed, however small the pieces in which it came."""
        tail = b""
        for piece in reversed(self._pieces):
            if len(tail) >= TAIL_BYTES:
                break
            tail = piece + tail
        return tail[-TAIL_BYTES:]

    def _elapsed_ms(self) -> float:
        return (time.monotonic() - self._case.request.received_at) * 1000


class _Followed:
    """A body which reports to its recorder.

    Of an event stream only whole events pass: after half of one, no error event could follow
    which a client would understand.
    """

    def __init__(self, body: Body, recorder: Recorder) -> None:
        self._body = body
        self._recorder = recorder
        self._held = b""
        self._ready = b""
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._is_over:
            try:
                piece = await anext(self._body)
            except StopAsyncIteration:
                return self._ended()
            except (UpstreamError, SpecialistError):
                if not self._recorder.can_append:
                    self._is_over = True
                    self._recorder.finish(is_complete=False)
                    raise
                return self._broken_off()
            self._recorder.saw(piece)
            if ready := self._whole_events(piece):
                return ready
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End early: the Outcome first, because awaits in a cancelled task may never return."""
        self._recorder.finish(is_complete=False)
        await self._body.aclose()

    def _whole_events(self, piece: bytes) -> bytes:
        if not self._recorder.can_append:
            return piece
        piece = self._held + piece
        end = last_event_end(piece)
        self._held = piece[end:]
        ready = piece[:end]
        # Comments keep a connection alive and say nothing of where the stream is.
        if b"data:" in ready:
            self._ready = ready
        return ready

    def _ended(self) -> bytes:
        if not self._recorder.ended_whole(self._ready + self._held):
            return self._broken_off()
        self._is_over = True
        self._recorder.finish(is_complete=True)
        if self._held:
            return self._held
        raise StopAsyncIteration

    def _broken_off(self) -> bytes:
        # A stream which simply ends looks complete to OpenAI's clients: say that it is not.
        self._is_over = True
        self._recorder.finish(is_complete=False)
        return self._recorder.error_event(self._ready)


def _drafted(task: asyncio.Task[Draft] | None) -> Draft | None:
    if task is None or task.cancelled() or task.exception() is not None:
        return None
    return task.result()
