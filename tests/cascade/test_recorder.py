from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from gateway.cascade.base import RequestState
from gateway.cascade.recorder import Recorder
from gateway.core import Draft, Plan, Usage
from gateway.wire.surfaces import read_outcome
from tests.cascade.fakes import Flow
from tests.support.builders import request

STREAM = (
    b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)


class Pieces:
    """A body in pieces of `size` bytes."""

    def __init__(self, content: bytes, size: int) -> None:
        self._pieces = iter([content[at : at + size] for at in range(0, len(content), size)])

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        try:
            return next(self._pieces)
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_a_whole_stream_is_whole_however_small_its_pieces(size: int) -> None:
    """No error event follows [DONE], even where the teacher sends byte by byte."""
    flow = Flow()
    state = RequestState(request=request(is_streamed=True), plan=Plan(policy="p", may_serve=True))
    recorder = Recorder(state, flow.stages(), 200, ((b"content-type", b"text/event-stream"),))

    passed = b"".join([piece async for piece in recorder.record_body(Pieces(STREAM, size))])

    assert passed == STREAM
    assert [outcome.is_complete for outcome in flow.outcomes] == [True]


async def test_waiting_for_a_late_draft_does_not_count_as_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client had its whole answer when the teacher was done."""
    clock = SimpleNamespace(now=10.0)
    stopped = SimpleNamespace(monotonic=lambda: clock.now, time=lambda: clock.now)
    monkeypatch.setattr("gateway.cascade.recorder.time", stopped)
    flow = Flow()
    is_drafted = asyncio.Event()

    async def draft() -> Draft:
        await is_drafted.wait()
        return Draft(text="late", score=0.5, task="t", version=1)

    late = asyncio.create_task(draft())
    chat = request(received_at=9.0)
    state = RequestState(request=chat, plan=Plan(policy="p", may_serve=True), late_draft=late)

    Recorder(state, flow.stages(), 200, ()).finish(is_complete=True)
    clock.now = 100.0
    is_drafted.set()
    await late
    await asyncio.sleep(0)

    (outcome,) = flow.outcomes
    assert (outcome.latency_ms, outcome.at, outcome.draft) == (1000.0, 10.0, late.result())


@pytest.mark.parametrize("content_type", [b"application/json", b"text/event-stream", b"image/png"])
async def test_the_price_of_a_long_answer_can_still_be_read(content_type: bytes) -> None:
    """The bytes are not kept, but what its usage says is; pictures say nothing."""
    flow = Flow()
    state = RequestState(request=request(), plan=Plan(policy="p", may_serve=True))
    recorder = Recorder(state, flow.stages(), 200, ((b"content-type", content_type),))
    padding = b"w" * 2_000_000
    answer = b'data: {"choices":[],"text":"%b","usage":{"prompt_tokens":9,"completion_tokens":2}}' % padding

    _ = [piece async for piece in recorder.record_body(Pieces(answer, 50_000))]

    (outcome,) = flow.outcomes
    assert (outcome.answer, outcome.is_captured) == (b"", False)
    assert (outcome.excerpt is not None) == (content_type != b"image/png")
    if outcome.excerpt:
        assert read_outcome(outcome).usage == Usage(9, 2)
