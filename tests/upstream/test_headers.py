"""Headers of one hop end here; everything else travels."""

from __future__ import annotations

import pytest

from gateway.upstream.headers import end_to_end, readable


def test_headers_of_one_hop_and_those_which_connection_names_are_dropped() -> None:
    headers = [
        (b"accept", b"*/*"),
        (b"x-once", b"1"),
        (b"connection", b"close, X-Once"),
        (b"keep-alive", b"timeout=5"),
        (b"te", b"trailers"),
        (b"upgrade", b"h2c"),
        (b"x-kept", b"1"),
        (b"x-kept", b"2"),
    ]

    assert end_to_end(headers) == [(b"accept", b"*/*"), (b"x-kept", b"1"), (b"x-kept", b"2")]


def test_connection_cannot_hide_how_the_body_is_to_be_read() -> None:
    """A body that was judged unpacked would arrive packed, or a form as none."""
    headers = [(b"content-encoding", b"gzip"), (b"content-type", b"x"), (b"connection", b"content-encoding")]

    assert end_to_end(headers) == [(b"content-encoding", b"gzip"), (b"content-type", b"x")]


@pytest.mark.parametrize(
    ("offered", "narrowed"),
    [
        (b"gzip, deflate, br, zstd", b"gzip, deflate"),
        (b"gzip", b"gzip"),
        (b"BR;q=1.0, GZIP;q=0.8, identity;q=0", b"gzip;q=0.8, identity;q=0"),
        (b"br", b"identity"),
        (b"*", b"identity"),
        (b"", b"identity"),
    ],
)
def test_accept_encoding_is_narrowed_to_what_we_can_read(offered: bytes, narrowed: bytes) -> None:
    assert readable(offered) == narrowed
