"""A stranger's bytes and silences are bounded, and every refusal is in OpenAI's envelope."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import Iterator

import pytest

from gateway.api.http import connections
from gateway.api.http.edge import Config
from gateway.api.http.refusals import RefusalLog
from gateway.core import Answer, Request
from tests.api.site_server import SiteServer, chat_body, chat_head, serve_site
from tests.support.waiting import PATIENCE_S

HEALTH = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture(scope="module")
def _edge_site() -> Iterator[SiteServer]:
    quick = Config(head_timeout_s=1, keep_alive_s=1.5, connections=8, stalled_s=0.5, min_bytes_per_s=1 << 20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "SWEEP_S", 0.05)
        with serve_site(edge=quick) as site:
            yield site


@pytest.fixture
def edge_site(_edge_site: SiteServer) -> SiteServer:
    """A site with short deadlines and room for eight connections."""
    _edge_site.reset()
    return _edge_site


def read_to_end(sock: socket.socket) -> bytes:
    received = b""
    try:
        while piece := sock.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def send_all(site: SiteServer, *pieces: bytes) -> bytes:
    """Send `pieces` on a new connection, however much of them is taken, and return the answers to its end."""
    with site.open_socket(b"") as sock:
        try:
            for piece in pieces:
                sock.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return read_to_end(sock)


def read_error(answer: bytes) -> tuple[int, str]:
    """Return status and code of one error in OpenAI's envelope."""
    head, _, body = answer.partition(b"\r\n\r\n")
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert b"content-type: application/json" in head
    assert b"connection: close" in head
    return int(head.split()[1]), error["code"]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"GET /v1/files HTTP/1.1\r\nx: " + b"y" * 70_000 + b"\r\n\r\n", (431, "headers_too_large")),
        (b"GET /v1/files HTTP/1.1\r\nx: " + b"y" * 2_000_000, (431, "headers_too_large")),
        (b"GET /v1/files HTTP/1.1\r\n" + b"x: y\r\n" * 101 + b"\r\n", (431, "headers_too_large")),
        (b"GET /v1/files HTTP/1.1\r\n" + b"x: y\r\n" * 100_000, (431, "headers_too_large")),
        (b"GET /" + b"y" * 20_000 + b" HTTP/1.1\r\n\r\n", (414, "url_too_long")),
        (b"GET /" + b"y" * 2_000_000, (414, "url_too_long")),
        (b"\r\n" * 40_000, (431, "headers_too_large")),
        (b"hello\r\n\r\n", (400, "invalid_http")),
        (b"GET / HTTP/1.1\r\nbad name: x\r\n\r\n", (400, "invalid_http")),
        (
            b"POST / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            (501, "unsupported_transfer_encoding"),
        ),
        (b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", (400, "invalid_http")),
        (b"GET /v1/files HTTP/1.1\r\nhost: x\r\n", (408, "request_timeout")),
        (b"G", (408, "request_timeout")),
    ],
    ids=[
        "long header", "endless header", "101 headers", "endless headers", "long url", "endless url",
        "empty lines", "not http", "bad name", "another coding", "chunks of 1.0",
        "unfinished head", "one byte",
    ],
)  # fmt: skip
def test_a_head_beyond_the_bounds_is_refused_in_the_envelope(
    edge_site: SiteServer, sent: bytes, expected: tuple[int, str]
) -> None:
    assert read_error(send_all(edge_site, sent)) == expected
    assert edge_site.ask("GET", "/healthz").status == 200


def test_a_head_within_the_bounds_is_answered_in_whatever_pieces_it_comes(edge_site: SiteServer) -> None:
    filler = b"".join(b"x-%d: %b\r\n" % (number, b"y" * 600) for number in range(95))
    request = chat_head(len(chat_body()), filler) + chat_body()
    for size in (1000, 997, 50_000):
        sock = edge_site.open_socket(b"")
        for start in range(0, len(request), size):
            sock.sendall(request[start : start + size])
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
        sock.close()


def test_a_silent_connection_is_closed_without_a_word(edge_site: SiteServer) -> None:
    assert send_all(edge_site) == b""


def test_a_connection_that_is_silent_after_an_answer_is_closed(edge_site: SiteServer) -> None:
    answer = send_all(edge_site, HEALTH)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b'{"status":"alive"}')


def test_a_credential_sent_as_a_trailer_is_no_credential(edge_site: SiteServer) -> None:
    """Trailers in the packet of their head became headers."""
    edge_site.flow.requests.clear()
    body = chat_body()
    chunked = b"%x\r\n%b\r\n0\r\nauthorization: Bearer sk\r\nx-injected: 1\r\n\r\n" % (len(body), body)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"

    answer = send_all(edge_site, head + chunked)

    assert answer.startswith(b"HTTP/1.1 200 ")
    (request,) = edge_site.flow.requests
    assert {name for name, _ in request.headers} == {b"host", b"transfer-encoding"}


def test_endless_trailers_end_the_connection(edge_site: SiteServer) -> None:
    body = chat_body()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"

    answer = send_all(edge_site, head + b"%x\r\n%b\r\n0\r\n" % (len(body), body), b"x: y\r\n" * 200_000)

    assert read_error(answer)[0] == 431
    assert edge_site.flow.requests == []


@pytest.mark.parametrize("cut", [None, 5, 37])
def test_pipelined_requests_are_answered_one_after_another(edge_site: SiteServer, cut: int | None) -> None:
    """What follows a request in work is not even parsed, and nothing of it is lost."""
    body = chat_body()
    chunked = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    chunked += b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    requests = (HEALTH + chat_head(len(body)) + body + chunked) * 10 + HEALTH
    pieces = [requests] if cut is None else [requests[i : i + cut] for i in range(0, len(requests), cut)]

    answer = send_all(edge_site, *pieces)

    assert answer.count(b"HTTP/1.1 200 OK") == 31
    assert len(edge_site.flow.requests) == 20


class Waiting:
    """A connection that notes when it was checked."""

    def __init__(self) -> None:
        self.checked_at: list[float] = []

    def check(self, now: float) -> None:
        self.checked_at.append(now)

    def make_room(self) -> None:
        raise AssertionError


def test_a_loop_that_stood_still_takes_no_client_for_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """What had come meanwhile was unread, and its sender was told that it came too slowly."""
    monkeypatch.setattr(connections, "SWEEP_S", 0.01)
    waiting = Waiting()

    async def stand_still() -> float:
        every = connections.Connections(Config())
        every.add(waiting, asyncio.get_running_loop())
        begun_at = every.now
        time.sleep(0.2)  # noqa: ASYNC251 - it is the loop that is held
        while not waiting.checked_at:
            await asyncio.sleep(0)
        every.remove(waiting)
        return begun_at

    begun_at = asyncio.run(stand_still())

    assert waiting.checked_at == [begun_at]


def test_more_pipelined_bytes_than_a_head_may_have_end_the_connection(edge_site: SiteServer) -> None:
    answer = send_all(edge_site, HEALTH * 50_000)

    assert 1 <= answer.count(b"HTTP/1.1 200 OK") < 5_000
    assert edge_site.ask("GET", "/healthz").status == 200


def test_thousands_of_pipelined_offers_are_answered_one_after_another(edge_site: SiteServer) -> None:
    """3,000 of them ended in a RecursionError."""
    offer = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"

    answer = send_all(edge_site, offer * 700)

    assert answer.count(b"HTTP/1.1 200 OK") == 700


def test_silent_connections_make_room_for_one_that_asks(edge_site: SiteServer) -> None:
    silent = [edge_site.open_socket(b"") for _ in range(30)]

    answers = [edge_site.chat().status for _ in range(5)]

    assert answers == [200] * 5
    for sock in silent:
        sock.close()


def test_a_full_house_refuses_with_503_and_still_answers_health_checks(edge_site: SiteServer) -> None:
    async def answer(_: Request) -> Answer:
        return edge_site.flow.with_body(b"data: 1\n\n", headers=((b"content-type", b"text/event-stream"),),
                                        then=wait_for_ever())  # fmt: skip

    edge_site.flow.answer = answer
    busy = []
    for _ in range(8):
        sock = edge_site.open_socket(chat_head(len(chat_body())) + chat_body())
        assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
        busy.append(sock)

    refused = send_all(edge_site, chat_head(len(chat_body())) + chat_body())
    health = edge_site.ask("GET", "/readyz")

    assert read_error(refused) == (503, "too_many_connections")
    assert b"\r\nretry-after: 1\r\n" in refused
    assert health.status == 200
    for sock in busy:
        sock.close()


async def wait_for_ever() -> None:
    await asyncio.Event().wait()


def test_a_client_that_does_not_read_is_cut_and_its_work_ended(edge_site: SiteServer) -> None:
    async def answer(_: Request) -> Answer:
        return edge_site.flow.with_body(*[b"x" * 1_000_000] * 1_000)

    edge_site.flow.answer = answer
    sock = edge_site.open_socket(chat_head(len(chat_body())) + chat_body())

    assert edge_site.flow.signals.closed.wait(PATIENCE_S)
    sock.close()


def test_a_client_that_reads_slowly_but_steadily_gets_everything(edge_site: SiteServer) -> None:
    async def answer(_: Request) -> Answer:
        return edge_site.flow.with_body(*[b"x" * 1_000_000] * 20)

    edge_site.flow.answer = answer
    received = 0
    with edge_site.open_socket(chat_head(len(chat_body())) + chat_body()) as sock:
        while piece := sock.recv(1 << 20):
            received += len(piece)
            time.sleep(0.02)

    assert received > 20_000_000


def test_an_answer_left_unread_does_not_keep_its_connection(edge_site: SiteServer) -> None:
    """The answer is whole and fits the buffers, but the client never takes it."""

    async def answer(_: Request) -> Answer:
        return edge_site.flow.with_body(b"x" * 12_000_000)

    edge_site.flow.answer = answer
    sock = edge_site.open_socket(chat_head(len(chat_body())) + chat_body())

    assert edge_site.flow.signals.closed.wait(PATIENCE_S)
    sock.close()


def test_refusals_are_logged_once_a_minute_for_each_kind(
    edge_site: SiteServer, caplog: pytest.LogCaptureFixture
) -> None:
    log = RefusalLog()
    with caplog.at_level(logging.WARNING):
        for second in range(100):
            log.note("invalid http", float(second))
            log.note("url too long", float(second))

    assert [record.getMessage() for record in caplog.records] == [
        "invalid http: 1 since the last such line",
        "url too long: 1 since the last such line",
        "invalid http: 60 since the last such line",
        "url too long: 60 since the last such line",
    ]
