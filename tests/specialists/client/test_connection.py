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
    Ask,
    Cancel,
    Done,
    Failed,
    Piece,
    Ping,
    Question,
    Reply,
    drafted,
    frame,
    opened,
    read_question,
)

BEGINNING = opened(1, Prediction(text="once", score=0.9), 1.0)
WHOLE = drafted(1, Prediction(text="once upon", score=0.9, finish_reason="length", completion_tokens=2), 2.0)


def ask(number: int = 1, draft_request: DraftRequest | None = None) -> Ask:
    return Ask(number, "support", 1, draft_request or DraftRequest(text="hello", is_streamed=True), 10_000)


class Peer:
    """The host's end of a line, played by the test."""

    def __init__(
        self, connection: HostConnection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connection = connection
        self._reader = reader
        self._writer = writer
        self._frames = FrameDecoder()
        self._heard: list[Question] = []

    async def hears(self) -> Question:
        """Return the next question."""
        while not self._heard:
            data = await asyncio.wait_for(self._reader.read(1 << 16), 10)
            assert data, "the line was closed"
            self._heard += [read_question(payload) for payload in self._frames.feed(data)]
        return self._heard.pop(0)

    def says(self, *replies: Reply) -> None:
        """Send replies, all of them before the gateway's end takes its next step."""
        for reply in replies:
            self.connection.data_received(frame(reply))

    def hangs_up(self) -> None:
        """End the connection."""
        self._writer.close()

    @property
    def is_forgotten(self) -> bool:
        """Whether the gateway's end keeps nothing of any question."""
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


async def opened_rest(peer: Peer) -> HostDraftStream:
    """Return the rest of question 1, whose beginning was heard."""
    asked = asyncio.create_task(peer.connection.ask(ask(), 10))
    await peer.hears()
    peer.says(BEGINNING)
    assert await asked == BEGINNING
    return HostDraftStream(peer.connection, 1)


async def test_a_line_without_a_connection_is_down() -> None:
    with pytest.raises(SpecialistError, match="host down"):
        await HostConnection(asyncio.get_running_loop()).ask(Ping(1), 10)


async def test_waiting_for_the_loss_can_be_cancelled_at_the_very_moment_of_the_loss() -> None:
    """Otherwise a gateway which stops together with its host would wait for ever."""
    connection = HostConnection(asyncio.get_running_loop())
    waiting = asyncio.create_task(connection.is_lost_within(10))
    await asyncio.sleep(0)

    connection.connection_lost(None)
    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, 5)


async def test_what_follows_an_opening_comes_in_order_to_its_end(peer: Peer) -> None:
    story = await opened_rest(peer)
    peer.says(Piece(1, " upon"), Piece(1, " a"), Piece(1, " time"), WHOLE)

    assert [piece async for piece in story] == [" upon", " a", " time"]

    assert (story.finish_reason, story.completion_tokens) == ("length", 2)
    assert peer.is_forgotten


async def test_pieces_of_two_answers_are_not_mixed_up(peer: Peer) -> None:
    first = await opened_rest(peer)
    asked = asyncio.create_task(peer.connection.ask(ask(2), 10))
    await peer.hears()
    peer.says(opened(2, Prediction(text="in", score=0.5), 1.0))
    await asked

    peer.says(Piece(1, " upon"), Piece(2, " short"), Piece(1, " a time"), WHOLE, Done(2))

    assert [piece async for piece in first] == [" upon", " a time"]
    assert await peer.connection.next_of(2, 10) == Piece(2, " short")


async def test_a_rest_which_is_closed_is_called_off_once(peer: Peer) -> None:
    story = await opened_rest(peer)
    peer.says(Piece(1, " upon"))

    await story.aclose()
    await story.aclose()
    peer.says(Piece(1, " a time"), WHOLE)
    asked = asyncio.create_task(peer.connection.ask(Ping(2), 10))

    assert await peer.hears() == Cancel(1)
    assert await peer.hears() == Ping(2)
    asked.cancel()
    assert [piece async for piece in story] == []
    assert peer.connection._opened == {}


async def test_a_rest_which_was_read_to_its_end_is_not_called_off(peer: Peer) -> None:
    story = await opened_rest(peer)
    peer.says(WHOLE)
    assert [piece async for piece in story] == []

    await story.aclose()
    asked = asyncio.create_task(peer.connection.ask(Ping(2), 10))

    assert await peer.hears() == Ping(2)
    asked.cancel()


async def test_a_silent_host_has_broken_off_and_is_told_so(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "PATIENCE_S", 0.01)
    story = await opened_rest(peer)

    with pytest.raises(SpecialistError, match="late"):
        await anext(story)

    assert await peer.hears() == Cancel(1)
    assert peer.is_forgotten


async def test_a_failure_amid_an_answer_is_its_reason(peer: Peer) -> None:
    story = await opened_rest(peer)
    peer.says(Failed(1, "specialists", "out of memory", ""))

    with pytest.raises(SpecialistError, match="out of memory"):
        await anext(story)

    assert peer.is_forgotten


async def test_a_connection_lost_amid_an_answer_fails_it_after_what_was_heard(peer: Peer) -> None:
    story = await opened_rest(peer)
    peer.says(Piece(1, " upon"))
    peer.hangs_up()
    assert await peer.connection.is_lost_within(10)

    assert await anext(story) == " upon"
    with pytest.raises(SpecialistError, match="host down"):
        await anext(story)

    assert peer.is_forgotten


async def test_an_opening_which_comes_too_late_is_called_off(peer: Peer) -> None:
    with pytest.raises(SpecialistError, match="late"):
        await peer.connection.ask(ask(), 0.01)

    assert await peer.hears() == ask()
    assert await peer.hears() == Cancel(1)
    peer.says(BEGINNING, Piece(1, " upon"), WHOLE)
    assert peer.is_forgotten


async def test_an_opening_for_somebody_who_leaves_that_very_moment_is_called_off(peer: Peer) -> None:
    """Else the host would write to its end what nobody reads."""
    asked = asyncio.create_task(peer.connection.ask(ask(), 10))
    await peer.hears()

    peer.says(BEGINNING, Piece(1, " upon"))
    asked.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asked
    assert await peer.hears() == Cancel(1)
    assert peer.is_forgotten


async def test_what_no_frame_holds_is_a_reason(peer: Peer) -> None:
    draft_request = DraftRequest(text="hello", stop=("x" * MAX_FRAME_BYTES,))

    with pytest.raises(SpecialistError, match="demands too long"):
        await peer.connection.ask(ask(draft_request=draft_request), 10)

    assert peer.is_forgotten
