"""A request that offers another protocol is answered as if it had not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import httptools
import pytest
import uvicorn

from gateway.api.http.asgi import Receive, Scope, Send
from gateway.api.http.connections import Connections
from gateway.api.http.edge import Config
from gateway.api.http.protocol import create_protocol
from tests.support.waiting import PATIENCE_S

OFFER = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n"


async def echo_request(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the target, the names of the headers and the body."""
    message = await receive()
    body = message["body"]
    while message["more_body"]:
        message = await receive()
        body += message["body"]
    names = b",".join(sorted(name for name, _ in scope["headers"]))
    echoed = scope["raw_path"] + b" " + names + b" " + body
    headers = [(b"content-length", b"%d" % len(echoed))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": echoed})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    sock = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        echo_request,
        http=create_protocol(Connections(Config())),  # type: ignore[arg-type]
        ws="none",
        log_config=None,
        access_log=False,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    yield sock.getsockname()[1]
    server.should_exit = True
    thread.join(PATIENCE_S)
    sock.close()


class Answers:
    """Collects the bodies of the answers on one connection."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.whole = 0

    def on_message_begin(self) -> None:
        self.bodies.append(b"")

    def on_body(self, data: bytes) -> None:
        self.bodies[-1] += data

    def on_message_complete(self) -> None:
        self.whole += 1


def send(port: int, *pieces: bytes, answers: int = 1) -> list[bytes]:
    """Send each of `pieces` in a packet of its own, and return the bodies of the answers."""
    received = Answers()
    parser = httptools.HttpResponseParser(received)
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            sock.sendall(piece)
        while received.whole < answers:
            parser.feed_data(sock.recv(65536))
    return received.bodies


def post(body: bytes, extra: bytes = OFFER, path: bytes = b"/a") -> bytes:
    return b"POST %b HTTP/1.1\r\nhost: x\r\n%bcontent-length: %d\r\n\r\n%b" % (path, extra, len(body), body)


def test_the_body_behind_an_offer_arrives(port: int) -> None:
    assert send(port, post(b"hello")) == [b"/a connection,content-length,host hello"]


def test_a_body_in_pieces_and_chunks_arrives(port: int) -> None:
    head = b"POST /a HTTP/1.1\r\nhost: x\r\n" + OFFER + b"transfer-encoding: chunked\r\n\r\n"

    (body,) = send(port, head, b"3\r\nhel\r\n", b"2\r\nlo\r\n0\r\n\r\n")

    assert body.endswith(b" hello")


def test_a_request_without_a_body_is_answered(port: int) -> None:
    (body,) = send(port, b"GET /a%2Fb HTTP/1.1\r\nhost: x\r\n" + OFFER + b"\r\n")

    assert body.startswith(b"/a%2Fb ")


def test_further_requests_on_the_connection_are_answered(port: int) -> None:
    requests = (post(b"one"), post(b"two", b""), post(b"three"))

    bodies = send(port, b"".join(requests), answers=3)

    assert [body.rpartition(b" ")[2] for body in bodies] == [b"one", b"two", b"three"]


def test_a_client_that_asks_to_close_gets_its_connection_closed(port: int) -> None:
    offer = OFFER.replace(b"Upgrade,", b"close, Upgrade,")
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as sock:
        sock.sendall(post(b"x", offer))
        received = b""
        while piece := sock.recv(65536):
            received += piece

    assert received.endswith(b" x")


def test_a_tunnel_is_refused(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as sock:
        sock.sendall(b"CONNECT x:443 HTTP/1.1\r\nhost: x:443\r\n\r\n")

        assert sock.recv(65536).startswith(b"HTTP/1.1 400 ")
