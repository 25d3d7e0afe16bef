"""Bodies too large, too slow, or other than announced."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from gateway.api.http.body import BodyLimit, BodyLimits
from tests.api.site_server import CHAT, House, chat_body, chat_head, open_house

SMALL = BodyLimits(
    chat=BodyLimit(max_bytes=1000, total_s=0.3),
    upload=BodyLimit(max_bytes=100_000, total_s=0.3),
)


@pytest.fixture
def strict_house() -> Iterator[House]:
    with open_house(limits=SMALL) as house:
        yield house


@pytest.mark.parametrize("path", [CHAT, "/v1/files"])
def test_a_body_announced_too_large_is_refused_unread(strict_house: House, path: str) -> None:
    plug = strict_house.raw(_head(path, b"content-length: 100000000\r\n"))

    assert _answer(plug).startswith(b"HTTP/1.1 413 ")
    assert strict_house.chat().status == 200


@pytest.mark.parametrize("path", [CHAT, "/v1/files"])
def test_a_body_which_grows_too_large_is_refused(strict_house: House, path: str) -> None:
    """Chunked bodies announce no size: they are counted."""
    plug = strict_house.raw(_head(path, b"transfer-encoding: chunked\r\n"))
    for _ in range(20):
        plug.sendall(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
    plug.sendall(b"0\r\n\r\n")

    assert _answer(plug).startswith(b"HTTP/1.1 413 ")
    assert strict_house.chat().status == 200


def test_a_client_which_still_sends_reads_why_it_was_refused(strict_house: House) -> None:
    """The refusal survives although more of the body is on its way: no reset."""
    body = b"x" * 2_000_000

    got = strict_house.ask("POST", CHAT, body)

    assert got.status == 413
    assert got.error["code"] == "request_too_large"


@pytest.mark.parametrize("path", [CHAT, "/v1/files"])
def test_a_body_which_stalls_is_cut(strict_house: House, path: str) -> None:
    """Announced 500 bytes, sent 3: the deadline ends it and no work is left behind."""
    plug = strict_house.raw(_head(path, b"content-length: 500\r\n") + b'{"m')

    assert _answer(plug).startswith(b"HTTP/1.1 408 ")
    assert not strict_house.flow.requests


def test_a_body_slower_than_the_minimum_rate_is_cut() -> None:
    limits = BodyLimits(chat=BodyLimit(max_bytes=1000, total_s=60.0, grace_s=0.2, min_bytes_per_s=1e6))
    with open_house(limits=limits) as house:
        plug = house.raw(chat_head(500) + b"{")

        assert _answer(plug).startswith(b"HTTP/1.1 408 ")


def test_a_body_in_many_pieces_arrives_whole(house: House) -> None:
    body = chat_body(messages=[{"role": "user", "content": "x" * 300_000}])
    plug = house.raw(chat_head(len(body), b"connection: close\r\n"))
    for start in range(0, len(body), 1000):
        plug.sendall(body[start : start + 1000])

    assert _answer(plug).startswith(b"HTTP/1.1 200 ")
    assert house.flow.requests[0].body == body


def test_a_client_which_leaves_during_its_upload_leaves_nothing(house: House) -> None:
    """The flow is never asked, and the house goes on."""
    for _ in range(20):
        house.raw(chat_head(500) + b'{"model":').close()

    assert house.chat().status == 200
    assert len(house.flow.requests) == 1


def _head(path: str, extra: bytes) -> bytes:
    return b"POST %b HTTP/1.1\r\nhost: x\r\n%b\r\n" % (path.encode(), extra)


def _answer(plug: socket.socket) -> bytes:
    received = b""
    with plug:
        while block := plug.recv(65536):
            received += block
    return received
