"""Any bytes on the model host's socket end that connection alone, and leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.core import DraftRequest
from gateway.errors import SpecialistError
from gateway.ipc.framing import MAX_FRAME_BYTES, FrameDecoder, FrameError, frame_payload
from gateway.specialists.base import Listener, Prediction
from gateway.specialists.client.connection import HostConnection
from gateway.specialists.client.stream import HostDraftStream
from gateway.specialists.host.connection import WorkerConnection
from gateway.specialists.host.loaded_models import LoadedModels, Version
from gateway.specialists.host.work_queue import QueueLimits, WorkQueue
from gateway.specialists.protocol import (
    Done,
    Drafted,
    HostReply,
    MakeDraft,
    Opened,
    Ping,
    decode_reply,
    decode_request,
    encode_frame,
)
from tests.fuzzing.test_event_streams import CUTS, cut_into_pieces
from tests.specialists.hosting import FlatEncoder, HostProcess, resources_of, running_host
from tests.specialists.test_protocol import REPLIES, REQUESTS
from tests.support.waiting import PATIENCE_S

FEW = settings(max_examples=max(20, settings().max_examples // 10))
"""For examples that take tens of milliseconds each."""


def damage(frame: bytes, at: int, byte: int) -> bytes:
    at %= len(frame)
    return frame[:at] + bytes([byte]) + frame[at + 1 :]


ODD_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=6)
    | st.binary(max_size=6),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=6,
)  # fmt: skip
NAMES = st.sampled_from(sorted({type(one).__name__ for one in (*REQUESTS, *REPLIES)}))
ODD_FRAMES = st.builds(
    lambda name, values: frame_payload(msgspec.msgpack.encode([name, *values])),
    NAMES,
    st.lists(ODD_VALUES, max_size=6),
)


def frames_of(messages: list[msgspec.Struct]) -> st.SearchStrategy[bytes]:
    whole = st.sampled_from([encode_frame(message) for message in messages])
    damaged = st.builds(damage, whole, st.integers(0, 400), st.integers(0, 255))
    return st.lists(whole | damaged | ODD_FRAMES | st.binary(max_size=12), max_size=6).map(b"".join)


class EchoModels(LoadedModels):
    """Models that answer every text with itself."""

    def __init__(self) -> None:
        super().__init__(resources_of(FlatEncoder()))

    def draft(self, version: Version, draft_request: DraftRequest, listener: Listener) -> Prediction:
        return Prediction(text=draft_request.text, score=1.0)


class Wire(asyncio.Transport):
    """One end of a connection: keeps what is written, and whether it was cut."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_cut = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.is_cut

    def abort(self) -> None:
        self.is_cut = True

    def replies(self) -> list[HostReply]:
        return [decode_reply(payload) for payload in FrameDecoder().feed(self.written)]


@given(st.binary(max_size=100) | frames_of([*REQUESTS]), CUTS)
def test_any_bytes_are_frames_or_refused_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    def read(pieces: list[bytes]) -> tuple[list[bytes], bool]:
        decoder = FrameDecoder()
        payloads: list[bytes] = []
        try:
            for piece in pieces:
                payloads.extend(decoder.feed(piece))
        except FrameError:
            return payloads, True
        return payloads, False

    payloads, is_refused = read([data])

    assert all(len(payload) <= MAX_FRAME_BYTES for payload in payloads)
    in_pieces, is_refused_in_pieces = read(cut_into_pieces(data, cuts))
    assert is_refused == is_refused_in_pieces
    assert is_refused or in_pieces == payloads


@given(st.binary(max_size=60) | ODD_FRAMES.map(lambda frame: frame[4:]))
def test_any_payload_is_a_message_or_refused(payload: bytes) -> None:
    for decode in (decode_request, decode_reply):
        with contextlib.suppress(FrameError):
            assert decode(payload).id is not None


async def play(data: bytes, cuts: list[int]) -> None:
    queue = WorkQueue(EchoModels(), QueueLimits(threads=1, waiting=len(REQUESTS)))
    odd, polite = WorkerConnection(queue), WorkerConnection(queue)
    wires = {odd: Wire(), polite: Wire()}
    for connection, wire in wires.items():
        connection.connection_made(wire)
    for piece in cut_into_pieces(data, cuts):
        if not wires[odd].is_cut:
            odd.data_received(piece)
    odd.connection_lost(None)

    expected = {1: Done, 2: Drafted}
    polite.data_received(encode_frame(Ping(1)))
    async with asyncio.timeout(PATIENCE_S):
        while not expected.items() <= {reply.id: type(reply) for reply in wires[polite].replies()}.items():
            if 2 not in {reply.id for reply in wires[polite].replies() if isinstance(reply, Drafted)}:
                # "overloaded" while the work of the other is dropped.
                polite.data_received(encode_frame(MakeDraft(2, "t", 1, DraftRequest(text="hi"), 1e6)))
            await asyncio.sleep(0.001)
    assert not wires[polite].is_cut
    queue.close()


@FEW
@given(frames_of([*REQUESTS]), CUTS)
def test_a_connection_that_sends_anything_ends_alone(data: bytes, cuts: list[int]) -> None:
    """The other connections of the host are answered, its queue too."""
    asyncio.run(play(data, cuts))


async def listen(data: bytes, cuts: list[int]) -> None:
    connection = HostConnection(asyncio.get_running_loop())
    wire = Wire()
    connection.connection_made(wire)
    request = MakeDraft(1, "support", 1, DraftRequest(text="hi", is_streamed=True), 1e6)
    asking = asyncio.ensure_future(connection.send_request(request, PATIENCE_S))
    await asyncio.sleep(0)
    for piece in cut_into_pieces(data, cuts):
        if not wire.is_cut:
            connection.data_received(piece)
    connection.connection_lost(None)
    reply = await asking
    if isinstance(reply, Opened):
        with contextlib.suppress(SpecialistError):
            async for text in HostDraftStream(connection, 1):
                assert isinstance(text, str)


@FEW
@given(frames_of([*REPLIES, Opened(1, Prediction(text="o", score=1.0)), Done(1)]), CUTS)
def test_a_host_that_sends_anything_leaves_no_request_waiting(data: bytes, cuts: list[int]) -> None:
    asyncio.run(listen(data, cuts))


@pytest.fixture(scope="module")
def host() -> Iterator[HostProcess]:
    with tempfile.TemporaryDirectory(prefix="sd-") as folder, running_host(Path(folder) / "host.sock") as up:
        yield up


@FEW
@given(data=frames_of([*REQUESTS]))
@example(data=b"\xff" * 100)
def test_a_real_host_survives_whatever_is_sent(host: HostProcess, data: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as odd, socket.socket(socket.AF_UNIX) as polite:
        for one in (odd, polite):
            one.settimeout(PATIENCE_S)
            one.connect(str(host.socket))
        odd.sendall(data)
        odd.shutdown(socket.SHUT_WR)
        polite.sendall(encode_frame(Ping(7)))

        [reply] = FrameDecoder().feed(polite.recv(1000))

        assert decode_reply(reply) == Done(7)
        with contextlib.suppress(ConnectionResetError):
            while odd.recv(1 << 16):
                pass
    assert host.process.poll() is None
