"""Any bytes under any content-encoding are decoded within the limit, or refused in OpenAI's shape."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable

import brotli
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.errors import RequestError
from gateway.wire.content_encoding import STEP_BYTES, decode_body

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LIMIT = 100_000
ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "deflate": zlib.compress,
    "br": lambda data: brotli.compress(data, quality=1),
    "zstd": zstd.compress,
}
CODINGS = st.sampled_from(sorted(ENCODERS))
CONTENTS = st.binary(max_size=200) | st.builds(
    lambda piece, count: piece * count, st.binary(min_size=1, max_size=8), st.integers(0, 2 * LIMIT)
)


def decode(codings: list[str], body: bytes) -> bytes:
    return decode_body([(b"content-encoding", ", ".join(codings).encode())], body, LIMIT)


def decode_or_refuse(codings: list[str], body: bytes) -> bytes | None:
    """Return the body decoded, None if it is refused; whatever happens is one of the two."""
    try:
        found = decode(codings, body)
    except RequestError as exc:
        assert exc.status in (400, 413, 415)
        assert exc.code
        return None
    assert len(found) <= LIMIT
    return found


@given(CONTENTS, st.lists(CODINGS, min_size=1, max_size=4))
def test_what_was_encoded_is_decoded_or_too_large(content: bytes, codings: list[str]) -> None:
    body = content
    for coding in codings:
        body = ENCODERS[coding](body)

    assert decode_or_refuse(codings, body) == (content if len(content) <= LIMIT else None)


@given(CONTENTS, CODINGS, st.data())
def test_a_body_that_is_cut_never_passes_for_a_whole_one(
    content: bytes, coding: str, data: st.DataObject
) -> None:
    body = ENCODERS[coding](content)
    assume(len(body) > 1)
    end = data.draw(st.integers(1, len(body) - 1))

    assert decode_or_refuse([coding], body[:end]) is None


@given(CONTENTS, CODINGS, st.binary(min_size=1, max_size=4), st.data())
def test_any_damage_is_decoded_or_refused(
    content: bytes, coding: str, damage: bytes, data: st.DataObject
) -> None:
    body = ENCODERS[coding](content)
    at = data.draw(st.integers(0, len(body)))

    decode_or_refuse([coding], body[:at] + damage + body[at + len(damage) :])


@given(st.binary(max_size=3 * 1024), st.lists(CODINGS | st.text(max_size=8), min_size=1, max_size=5))
def test_any_bytes_are_decoded_or_refused(body: bytes, codings: list[str]) -> None:
    try:
        headers = [(b"content-encoding", ",".join(codings).encode())]
        assert len(decode_body(headers, body, LIMIT)) <= max(LIMIT, len(body)) + STEP_BYTES
    except RequestError as exc:
        assert exc.status in (400, 413, 415)
