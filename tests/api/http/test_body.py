"""A body too large, too slow or cut short is refused, and the next request works."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from gateway.api.http import exchange
from gateway.api.http.body import BodyLimit, BodyLimits
from tests.api.site_server import CHAT, SiteServer, chat_body, chat_head, serve_site
from tests.support.waiting import PATIENCE_S

SMALL = BodyLimits(
    chat=BodyLimit(max_bytes=1000, total_s=0.3),
    upload=BodyLimit(max_bytes=100_000, total_s=0.3),
)


@pytest.fixture
def strict_site() -> Iterator[SiteServer]:
    with serve_site(limits=SMALL) as site:
        yield site


@pytest.mark.parametrize("path", [CHAT, "/v1/files"])
def test_a_body_announced_too_large_is_refused_unread(strict_site: SiteServer, path: str) -> None:
    sock = strict_site.open_socket(_head(path, b"content-length: 100000000\r\n"))

    assert _answer(sock).startswith(b"HTTP/1.1 413 ")
    assert strict_site.chat().status == 200


@pytest.mark.parametrize("path", [CHAT, "/v1/files"])
def test_a_body_that_grows_too_large_is_refused(strict_site: SiteServer, path: str) -> None:
    """Chunked bodies announce no size: they are counted."""
    sock = strict_site.open_socket(_head(path, b"transfer-encoding: chunked\r\n"))
    for _ in range(20):
        sock.sendall(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
    sock.sendall(b"0\r\n\r\n")

    assert _answer(sock).startswith(b"HTTP/1.1 413 ")
    assert strict_site.chat().status == 200


def test_a_client_that_still_sends_reads_why_it_was_refused(strict_site: SiteServer) -> None:
    """The refusal arrives although more of the body is on its way: no reset."""
    body = b"x" * 2_000_000

    response = strict_site.ask("POST", CHAT, body)

    assert response.status == 413
    assert response.error["code"] == "request_too_large"


def test_a_client_that_sends_for_long_reads_why_it_was_refused(strict_site: SiteServer) -> None:
    """Twelve bodies of 31 MB at once take longer than a second to arrive, and be refused."""
    sock = strict_site.open_socket(_head(CHAT, b"content-length: 1500000\r\n"))
    for _ in range(15):
        sock.sendall(b"x" * 100_000)
        time.sleep(exchange.LINGER_S / 10)

    assert _answer(sock).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("path", [CHAT, "/v1/files"])
def test_a_body_that_stalls_is_cut(strict_site: SiteServer, path: str) -> None:
    """500 bytes announced, 3 sent: the deadline ends it and no work is left behind."""
    sock = strict_site.open_socket(_head(path, b"content-length: 500\r\n") + b'{"m')

    assert _answer(sock).startswith(b"HTTP/1.1 408 ")
    assert not strict_site.flow.requests


def test_a_body_slower_than_the_minimum_rate_is_cut() -> None:
    limits = BodyLimits(chat=BodyLimit(max_bytes=1000, total_s=60.0, grace_s=0.2, min_bytes_per_s=1e6))
    with serve_site(limits=limits) as site:
        sock = site.open_socket(chat_head(500) + b"{")

        assert _answer(sock).startswith(b"HTTP/1.1 408 ")


def test_a_large_body_that_cannot_arrive_in_time_is_cut_at_once() -> None:
    """It would hold its room until then."""
    limits = BodyLimits(
        chat=BodyLimit(max_bytes=1_000_000, total_s=PATIENCE_S, grace_s=0.2, min_bytes_per_s=1)
    )
    with serve_site(limits=limits) as site:
        sock = site.open_socket(chat_head(900_000) + b"{" * 100)

        assert _answer(sock).startswith(b"HTTP/1.1 408 ")


def test_a_body_in_many_pieces_arrives_whole(site: SiteServer) -> None:
    body = chat_body(messages=[{"role": "user", "content": "x" * 300_000}])
    sock = site.open_socket(chat_head(len(body), b"connection: close\r\n"))
    for start in range(0, len(body), 1000):
        sock.sendall(body[start : start + 1000])

    assert _answer(sock).startswith(b"HTTP/1.1 200 ")
    assert site.flow.requests[0].body == body


def test_a_client_that_leaves_during_its_upload_leaves_no_work_behind(site: SiteServer) -> None:
    """The flow is never called, and the next request is answered."""
    for _ in range(20):
        site.open_socket(chat_head(500) + b'{"model":').close()

    assert site.chat().status == 200
    assert len(site.flow.requests) == 1


def _head(path: str, extra: bytes) -> bytes:
    return b"POST %b HTTP/1.1\r\nhost: x\r\n%b\r\n" % (path.encode(), extra)


def _answer(sock: socket.socket) -> bytes:
    received = b""
    with sock:
        while block := sock.recv(65536):
            received += block
    return received
