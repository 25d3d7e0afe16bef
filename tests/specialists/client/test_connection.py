from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from gateway.core import DraftRequest
from gateway.errors import SpecialistError
from gateway.ipc.framing import MAX_FRAME_BYTES, FrameDecoder
from gateway.specialists.base import Prediction
from gateway.specialists.client import stream
from gateway.specialists.client.connection import HostConnection
from gateway.specialists.client.stream import HostDraftStream
from gateway.specialists.protocol import (
    Cancel,
    Done,
    Drafted,
    Failed,
    HostReply,
    HostRequest,
    MakeDraft,
    Opened,
    Piece,
    Ping,
    decode_request,
    encode_frame,
)
from tests.support.waiting import PATIENCE_S

BEGINNING = Opened(1, Prediction(text="once", score=0.9), 1.0)
WHOLE = Drafted(1, Prediction(text="once upon", score=0.9, finish_reason="length", completion_tokens=2), 2.0)


def make_draft(number: int = 1, draft_request: DraftRequest | None = None) -> MakeDraft:
    draft_request = draft_request or DraftRequest(text="hello", is_streamed=True)
    return MakeDraft(number, "support", 1, draft_request, 10_000)


class Peer:
    """The host's end of a connection, played by the test."""

    def __init__(
        self, connection: HostConnection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connection = connection
        self._reader = reader
        self._writer = writer
        self._decoder = FrameDecoder()
        self._received: list[HostRequest] = []

    async def receive(self) -> HostRequest:
        """Return the next request."""
        while not self._received:
            data = await asyncio.wait_for(self._reader.read(1 << 16), PATIENCE_S)
            assert data, "the connection was closed"
            self._received += [decode_request(payload) for payload in self._decoder.feed(data)]
        return self._received.pop(0)

    def reply(self, *replies: HostReply) -> None:
        """Send replies, all of them before the gateway's end takes its next step."""
        for reply in replies:
            self.connection.data_received(encode_frame(reply))

    def close(self) -> None:
        """End the connection."""
        self._writer.close()

    @property
    def is_forgotten(self) -> bool:
        """Whether the gateway's end keeps nothing of any request."""
        return not self.connection._waiting and not self.connection._opened


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    loop = asyncio.get_running_loop()
    transport, connection = await loop.create_unix_connection(lambda: HostConnection(loop), sock=ours)
    reader, writer = await asyncio.open_unix_connection(sock=theirs)
    yield Peer(connection, reader, writer)
    transport.abort()
    writer.close()


async def open_stream(peer: Peer) -> HostDraftStream:
    """Return the stream of request 1 after its beginning."""
    waiting = asyncio.create_task(peer.connection.send_request(make_draft(), PATIENCE_S))
    await peer.receive()
    peer.reply(BEGINNING)
    assert await waiting == BEGINNING
    return HostDraftStream(peer.connection, 1)


async def test_a_connection_that_was_never_made_is_down() -> None:
    with pytest.raises(SpecialistError, match="host down"):
        await HostConnection(asyncio.get_running_loop()).send_request(Ping(1), PATIENCE_S)


async def test_waiting_for_the_loss_can_be_cancelled_at_the_very_moment_of_the_loss() -> None:
    """Otherwise a gateway that stops together with its host would wait for ever."""
    connection = HostConnection(asyncio.get_running_loop())
    waiting = asyncio.create_task(connection.is_lost_within(PATIENCE_S))
    await asyncio.sleep(0)

    connection.connection_lost(None)
    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, PATIENCE_S)


async def test_the_pieces_after_an_opening_come_in_order_to_the_end(peer: Peer) -> None:
    story = await open_stream(peer)
    peer.reply(Piece(1, " upon"), Piece(1, " a"), Piece(1, " time"), WHOLE)

    assert [piece async for piece in story] == [" upon", " a", " time"]

    assert (story.finish_reason, story.completion_tokens) == ("length", 2)
    assert peer.is_forgotten


async def test_pieces_of_two_answers_are_not_mixed_up(peer: Peer) -> None:
    first = await open_stream(peer)
    waiting = asyncio.create_task(peer.connection.send_request(make_draft(2), PATIENCE_S))
    await peer.receive()
    peer.reply(Opened(2, Prediction(text="in", score=0.5), 1.0))
    await waiting

    peer.reply(Piece(1, " upon"), Piece(2, " short"), Piece(1, " a time"), WHOLE, Done(2))

    assert [piece async for piece in first] == [" upon", " a time"]
    assert await peer.connection.next_reply(2, PATIENCE_S) == Piece(2, " short")


async def test_a_closed_stream_is_cancelled_once(peer: Peer) -> None:
    story = await open_stream(peer)
    peer.reply(Piece(1, " upon"))

    await story.aclose()
    await story.aclose()
    peer.reply(Piece(1, " a time"), WHOLE)
    waiting = asyncio.create_task(peer.connection.send_request(Ping(2), PATIENCE_S))

    assert await peer.receive() == Cancel(1)
    assert await peer.receive() == Ping(2)
    waiting.cancel()
    assert [piece async for piece in story] == []
    assert peer.connection._opened == {}


async def test_a_stream_read_to_its_end_is_not_cancelled(peer: Peer) -> None:
    story = await open_stream(peer)
    peer.reply(WHOLE)
    assert [piece async for piece in story] == []

    await story.aclose()
    waiting = asyncio.create_task(peer.connection.send_request(Ping(2), PATIENCE_S))

    assert await peer.receive() == Ping(2)
    waiting.cancel()


async def test_a_silent_host_has_broken_off_and_gets_a_cancel(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "PIECE_TIMEOUT_S", 0.01)
    story = await open_stream(peer)

    with pytest.raises(SpecialistError, match="late"):
        await anext(story)

    assert await peer.receive() == Cancel(1)
    assert peer.is_forgotten


async def test_a_failure_amid_an_answer_is_its_reason(peer: Peer) -> None:
    story = await open_stream(peer)
    peer.reply(Failed(1, "out of memory"))

    with pytest.raises(SpecialistError, match="out of memory"):
        await anext(story)

    assert peer.is_forgotten


async def test_a_connection_lost_amid_an_answer_fails_it_after_the_pieces_that_came(peer: Peer) -> None:
    story = await open_stream(peer)
    peer.reply(Piece(1, " upon"))
    peer.close()
    assert await peer.connection.is_lost_within(PATIENCE_S)

    assert await anext(story) == " upon"
    with pytest.raises(SpecialistError, match="host down"):
        await anext(story)

    assert peer.is_forgotten


async def test_a_request_whose_opening_is_late_is_cancelled(peer: Peer) -> None:
    with pytest.raises(SpecialistError, match="late"):
        await peer.connection.send_request(make_draft(), 0.01)

    assert await peer.receive() == make_draft()
    assert await peer.receive() == Cancel(1)
    peer.reply(BEGINNING, Piece(1, " upon"), WHOLE)
    assert peer.is_forgotten


@pytest.mark.parametrize("budget_s", [0.0, -1.0])
async def test_what_is_late_before_it_is_sent_costs_the_host_nothing(peer: Peer, budget_s: float) -> None:
    with pytest.raises(SpecialistError, match="late"):
        await peer.connection.send_request(make_draft(), budget_s)
    waiting = asyncio.create_task(peer.connection.send_request(Ping(2), PATIENCE_S))

    assert await peer.receive() == Ping(2)
    peer.reply(Done(2))
    await waiting
    assert peer.is_forgotten


async def test_an_opening_that_meets_the_cancellation_of_its_caller_is_cancelled(peer: Peer) -> None:
    """Otherwise the host would write an answer to its end that is never read."""
    waiting = asyncio.create_task(peer.connection.send_request(make_draft(), PATIENCE_S))
    await peer.receive()

    peer.reply(BEGINNING, Piece(1, " upon"))
    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await peer.receive() == Cancel(1)
    assert peer.is_forgotten


async def test_a_request_too_long_for_a_frame_is_a_reason(peer: Peer) -> None:
    draft_request = DraftRequest(text="hello", stop=("x" * MAX_FRAME_BYTES,))

    with pytest.raises(SpecialistError, match="demands too long"):
        await peer.connection.send_request(make_draft(draft_request=draft_request), PATIENCE_S)

    assert peer.is_forgotten
