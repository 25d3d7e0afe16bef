"""A packet is refused unparsed only if it is exactly one whole request, by the server's own parser."""

from __future__ import annotations

import pytest

from gateway.api.http.whole_request import MOST_BYTES, WholeRequest

LENGTH = b"POST /v1/x HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"
CHUNKED = b"POST /v1/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
NO_BODY = b"POST /v1/x HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize("data", [LENGTH, CHUNKED, NO_BODY], ids=["length", "chunked", "no body"])
def test_a_whole_post_is_recognized_again_and_again(data: bytes) -> None:
    whole = WholeRequest()

    assert all(whole.is_post(data) for _ in range(3))


@pytest.mark.parametrize(
    "data",
    [
        LENGTH[:-1],
        LENGTH[:20],
        CHUNKED[:-2],
        LENGTH + b"P",
        LENGTH + LENGTH,
        b"POST",
        b"GET" + LENGTH[4:],
        LENGTH.replace(b"HTTP/1.1", b"HTTP/1.0"),
        LENGTH.replace(b"host: x", b"connection: close"),
        LENGTH.replace(b"host: x", b"connection: upgrade\r\nupgrade: h2c"),
        LENGTH.replace(b"host: x", b"transfer-encoding: chunked"),
        LENGTH.replace(b"host: x", b"content-length: 1"),
        LENGTH.replace(b"host: x", b"bad header"),
        LENGTH.replace(b"host: x", b"x: " + b"y" * MOST_BYTES),
    ],
    ids=[
        "no last byte", "half a head", "no last chunk", "more", "two", "four bytes", "another method",
        "HTTP/1.0", "close", "upgrade", "length and chunks", "two lengths", "no header", "too large",
    ],
)  # fmt: skip
def test_anything_else_is_left_to_the_server(data: bytes) -> None:
    whole = WholeRequest()

    assert not whole.is_post(data)
    assert whole.find_credential(data) is None
    # What it saw of this packet is no part of the next.
    assert whole.is_post(LENGTH)
    assert whole.find_credential(LENGTH) == b""


def test_the_credential_is_that_of_the_packet() -> None:
    whole = WholeRequest()

    assert whole.find_credential(LENGTH.replace(b"host: x", b"Authorization: Bearer a")) == b"Bearer a"
    assert whole.find_credential(LENGTH) == b""
