"""A WebSocket passes: realtime sessions and responses."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.conformance.answers import head, reply
from tests.conformance.checks.errors import envelope
from tests.conformance.harness import Connection, Harness, best_of_three
from tests.conformance.table import check
from tests.conformance.teacher import PATIENCE_S, TeacherRequest, reset
from tests.conformance.wire import Head, MessageReader

PATH = "/realtime?model=gpt-realtime"
RFC = "RFC 6455"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
FINAL = 0x80


def frame(kind: int, data: bytes, *, is_masked: bool, is_final: bool = True) -> bytes:
    """Return one frame; a client's are masked."""
    size = len(data)
    length = (
        bytes([size])
        if size < 126
        else b"\x7e" + size.to_bytes(2)
        if size < 65536
        else b"\x7f" + size.to_bytes(8)
    )
    first = bytes([kind | (FINAL if is_final else 0), length[0] | (0x80 if is_masked else 0)])
    # The mask of zeros is a mask.
    return first + length[1:] + (b"\0\0\0\0" if is_masked else b"") + data


def read_frame(reader: MessageReader) -> tuple[int, bytes, bool]:
    """Return kind, data and whether it is the last frame of its message."""
    first, second = reader.read_exactly(2)
    size = second & 0x7F
    if size >= 126:
        size = int.from_bytes(reader.read_exactly(2 if size == 126 else 8))
    mask = reader.read_exactly(4) if second & 0x80 else b""
    data = reader.read_exactly(size)
    if mask:
        key = int.from_bytes((mask * (size // 4 + 1))[:size])
        data = (int.from_bytes(data) ^ key).to_bytes(size) if size else b""
    return first & 0x0F, data, bool(first & FINAL)


def read_message(
    reader: MessageReader, answer: Callable[[bytes], None] = lambda _: None
) -> tuple[int, bytes]:
    """Return the next message or CLOSE; `answer` gets the pongs to be sent before it."""
    kind, data, is_last = read_frame(reader)
    while kind in (PING, PONG):
        if kind == PING:
            answer(frame(PONG, data, is_masked=False))
        kind, data, is_last = read_frame(reader)
    while not is_last:
        _, more, is_last = read_frame(reader)
        data += more
    return kind, data


class Peer:
    """The teacher's end of a WebSocket: echoes, and keeps what happened."""

    def __init__(self, *, protocol: str = "", first: bytes = b"") -> None:
        self.closed: list[bytes] = []
        self.ended = threading.Event()
        self.ended_at = 0.0
        self._protocol = protocol
        self._first = first

    def __call__(self, request: TeacherRequest, connection: socket.socket) -> None:
        accept = base64.b64encode(
            hashlib.sha1(
                (request.value("sec-websocket-key") or "").encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            ).digest()
        )
        more = [f"sec-websocket-protocol: {self._protocol}"] if self._protocol else []
        connection.sendall(
            head(
                101,
                "upgrade: websocket",
                "connection: Upgrade",
                f"sec-websocket-accept: {accept.decode()}",
                *more,
            )
        )
        connection.sendall(self._first)
        reader = MessageReader(connection)
        try:
            while True:
                kind, data = read_message(reader, connection.sendall)
                if kind == CLOSE:
                    self.closed.append(data)
                    connection.sendall(frame(CLOSE, data, is_masked=False))
                    break
                connection.sendall(frame(kind, data, is_masked=False))
        except (EOFError, OSError):
            pass
        self.ended_at = time.monotonic()
        self.ended.set()
        raise ConnectionAbortedError


def handshake(harness: Harness, path: str = PATH, **headers: str) -> bytes:
    """Return the request of a client."""
    key = base64.b64encode(os.urandom(16)).decode()
    wanted = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": key,
    }
    return harness.request(
        "GET", path, None, {**wanted, **{name.replace("_", "-"): value for name, value in headers.items()}}
    )


@contextmanager
def opened(
    harness: Harness, peer: Peer, path: str = PATH, **headers: str
) -> Iterator[tuple[Connection, Head]]:
    """Open a WebSocket through the gateway to `peer`."""
    harness.teacher.play([peer])
    with harness.connect() as connection:
        connection.send(handshake(harness, path, **headers))
        answer = connection.head()
        assert answer.first.split(" ")[1] == "101", answer.first
        yield connection, answer


def send(connection: Connection, kind: int, data: bytes) -> None:
    """Send a frame as a client."""
    connection.send(frame(kind, data, is_masked=True))


@check(1001, "text goes both ways", source="API: Realtime, WebSocket; RFC 6455, 5.6")
def text(harness: Harness) -> None:
    with opened(harness, Peer()) as (connection, _):
        send(connection, TEXT, '{"type":"session.update","x":"caf\u00e9"}'.encode())
        assert read_message(connection.reader) == (TEXT, '{"type":"session.update","x":"caf\u00e9"}'.encode())


@check(1002, "bytes go both ways", source=f"{RFC}, 5.6")
def binary(harness: Harness) -> None:
    with opened(harness, Peer()) as (connection, _):
        send(connection, BINARY, bytes(range(256)))
        assert read_message(connection.reader) == (BINARY, bytes(range(256)))


@check(1003, "path, query and headers arrive at the teacher", source="API: Realtime, connection details")
def target(harness: Harness) -> None:
    with opened(
        harness, Peer(), "/realtime?model=gpt-realtime&x=%2F", openai_beta="realtime=v1", x_brand_new="1"
    ):
        seen = harness.teacher.wait()
        assert seen.target == "/v1/realtime?model=gpt-realtime&x=%2F"
        assert (seen.value("openai-beta"), seen.value("x-brand-new")) == ("realtime=v1", "1")
        assert (seen.value("authorization") or "").startswith("Bearer ")


@check(1004, "the subprotocol is the teacher's choice", source=f"{RFC}, 1.9; API: Realtime in a browser")
def subprotocol(harness: Harness) -> None:
    offered = "realtime, openai-insecure-api-key." + harness.headers["authorization"].removeprefix("Bearer ")
    with opened(harness, Peer(protocol="realtime"), sec_websocket_protocol=offered) as (_, answer):
        assert answer.value("sec-websocket-protocol") == "realtime"


@check(
    1005,
    "the teacher's first bytes after its handshake are not lost",
    source="API: Realtime, session.created",
)
def first_event(harness: Harness) -> None:
    with opened(harness, Peer(first=frame(TEXT, b'{"type":"session.created"}', is_masked=False))) as (
        connection,
        _,
    ):
        assert read_message(connection.reader) == (TEXT, b'{"type":"session.created"}')


@check(1006, "the client's close code and reason reach the teacher", source=f"{RFC}, 7.4")
def close_up(harness: Harness) -> None:
    peer = Peer()
    with opened(harness, peer) as (connection, _):
        send(connection, CLOSE, (4001).to_bytes(2) + b"enough")
        assert peer.ended.wait(PATIENCE_S)
    assert peer.closed == [(4001).to_bytes(2) + b"enough"]


@check(
    1007,
    "the teacher's close code and reason reach the client",
    source=f"{RFC}, 7.4; openai-python realtime: ConnectionClosed",
)
def close_down(harness: Harness) -> None:
    words = (4008).to_bytes(2) + b"session expired"
    with opened(harness, Peer(first=frame(CLOSE, words, is_masked=False))) as (connection, _):
        assert read_message(connection.reader) == (CLOSE, words)


@check(
    1008,
    "a client that drops the connection ends the teacher's within a second",
    source="API: Realtime, cost of sessions",
)
def drop(harness: Harness) -> None:
    def attempt() -> None:
        peer = Peer()
        with opened(harness, peer) as (connection, _):
            send(connection, TEXT, b"{}")
            read_message(connection.reader)
        left_at = time.monotonic()
        assert peer.ended.wait(3), "the teacher's end is still open"
        assert peer.ended_at - left_at <= 1.0

    best_of_three(attempt)


@check(1009, "a ping is answered", source=f"{RFC}, 5.5.2")
def ping(harness: Harness) -> None:
    with opened(harness, Peer()) as (connection, _):
        send(connection, PING, b"are you there")
        assert read_frame(connection.reader)[:2] == (PONG, b"are you there")


@check(1010, "a message in fragments arrives whole", source=f"{RFC}, 5.4")
def fragments(harness: Harness) -> None:
    with opened(harness, Peer()) as (connection, _):
        connection.send(
            frame(TEXT, b"one ", is_masked=True, is_final=False) + frame(0, b"two", is_masked=True)
        )
        assert read_message(connection.reader) == (TEXT, b"one two")


@check(1011, "a message of 4 MB arrives", source="API: Realtime, input_audio_buffer.append: up to 15 MiB")
def large(harness: Harness) -> None:
    with opened(harness, Peer()) as (connection, _):
        sender = threading.Thread(target=send, args=(connection, BINARY, b"\x07" * (4 << 20)))
        sender.start()
        kind, data = read_message(connection.reader)
        sender.join()
        assert (kind, len(data)) == (BINARY, 4 << 20)


def refusal(number: int, status: int) -> None:
    """Enter a check that the teacher's refusal of a handshake arrives as HTTP."""

    @check(
        number,
        f"a handshake that the teacher refuses is {status} to the client",
        source=f"{RFC}, 4.2.2; openai-python realtime: InvalidStatus",
    )
    def body(harness: Harness) -> None:
        harness.teacher.repeat([reply(status, envelope(), "x-should-retry: false")])
        with harness.connect() as connection:
            connection.send(handshake(harness, **harness.refused_key))
            assert connection.got("GET").status == status


refusal(1012, 401)
refusal(1013, 404)
refusal(1014, 429)


@check(1015, "an unreachable teacher is a 5xx before the upgrade", source=f"{RFC}, 4.2.2")
def unreachable(harness: Harness) -> None:
    harness.teacher.repeat([reset])
    with harness.connect() as connection:
        connection.send(handshake(harness))
        assert connection.got("GET").status in {500, 502, 503, 504}


@check(1016, "responses are available over a WebSocket", source="API: Responses, WebSocket mode")
def responses(harness: Harness) -> None:
    with opened(harness, Peer(), "/responses") as (connection, _):
        send(connection, TEXT, b'{"type":"response.create"}')
        assert read_message(connection.reader) == (TEXT, b'{"type":"response.create"}')
        assert harness.teacher.last.target == "/v1/responses"
