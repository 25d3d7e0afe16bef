"""Encoded request bodies are read within their limit, whatever they try."""

from __future__ import annotations

import gzip
import os
import sys
import time
import zlib

import brotli
import pytest

from gateway.errors import RequestError, UnreadableBodyError
from gateway.wire.content_encoding import MOST_CODINGS, MOST_PARTS, content_codings, decode_body

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LIMIT = 1 << 20
TEXT = b'{"model":"gpt-4o"}' * 1000
NOISE = os.urandom(300_000)


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


ENCODERS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
}


def decode(coding: str, body: bytes, limit: int = LIMIT) -> bytes:
    return decode_body([(b"content-encoding", coding.encode())], body, limit)


@pytest.mark.parametrize("coding", ENCODERS)
@pytest.mark.parametrize("data", [TEXT, NOISE, b"", b"x"], ids=["text", "noise", "empty", "byte"])
def test_every_coding_of_http_is_undone(coding: str, data: bytes) -> None:
    assert decode(coding, ENCODERS[coding](data)) == data


def test_deflate_is_undone_with_and_without_its_frame() -> None:
    assert decode("deflate", raw_deflate(TEXT)) == TEXT


def test_a_body_without_coding_is_the_same_object() -> None:
    assert decode_body([(b"content-type", b"x")], TEXT, LIMIT) is TEXT
    assert decode("identity, ", TEXT) is TEXT


def test_codings_are_undone_from_last_to_first_over_all_header_lines() -> None:
    headers = [(b"content-encoding", b"GZIP, identity"), (b"content-encoding", b" br")]

    assert content_codings(headers) == [b"gzip", b"br"]
    assert decode_body(headers, brotli.compress(gzip.compress(TEXT)), LIMIT) == TEXT


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_parts_in_a_row_are_one_body(coding: str) -> None:
    assert decode(coding, ENCODERS[coding](b"a") + ENCODERS[coding](TEXT)) == b"a" + TEXT


@pytest.mark.parametrize("coding", ENCODERS)
def test_damaged_data_is_the_clients_error(coding: str) -> None:
    whole = ENCODERS[coding](TEXT)

    for body in (whole[:-3], b"{}" + whole, whole + b"trailing", b"\0" * 20, TEXT):
        with pytest.raises(RequestError) as caught:
            decode(coding, body)
        assert (caught.value.status, caught.value.code) == (400, "invalid_content_encoding")


@pytest.mark.parametrize("coding", ["compress", "aes128gcm", "zstd, dcb", "gzip;q=1", "*"])
def test_an_unknown_coding_is_told_apart_from_damage(coding: str) -> None:
    with pytest.raises(UnreadableBodyError) as caught:
        decode(coding, TEXT)

    assert (caught.value.status, caught.value.code) == (415, "unsupported_content_encoding")


def test_more_codings_than_make_sense_are_not_undone() -> None:
    with pytest.raises(UnreadableBodyError):
        decode(", ".join(["gzip"] * (MOST_CODINGS + 1)), TEXT)


@pytest.mark.parametrize("coding", ENCODERS)
def test_the_limit_is_of_the_decoded_body_and_exact(coding: str) -> None:
    body = ENCODERS[coding](NOISE)

    assert decode(coding, body, len(NOISE)) == NOISE
    with pytest.raises(RequestError) as caught:
        decode(coding, body, len(NOISE) - 1)
    assert (caught.value.status, caught.value.code) == (413, "request_too_large")


@pytest.mark.parametrize("coding", ENCODERS)
def test_a_bomb_is_stopped_at_the_limit(coding: str) -> None:
    """Forty times the limit: decoding it whole would take forty times as long."""
    bomb = ENCODERS[coding](bytes(40 * LIMIT))
    began = time.process_time()

    with pytest.raises(RequestError) as caught:
        decode(coding, bomb)

    assert caught.value.status == 413
    assert time.process_time() - began < 1.0


def test_a_bomb_in_a_bomb_is_stopped_at_the_outer_limit() -> None:
    with pytest.raises(RequestError) as caught:
        decode("gzip, gzip", gzip.compress(gzip.compress(bytes(20 * LIMIT)) + os.urandom(2 * LIMIT)))

    assert caught.value.status == 413


def test_a_body_of_very_many_empty_parts_is_refused_soon() -> None:
    body = gzip.compress(b"") * (MOST_PARTS + 1)

    with pytest.raises(RequestError) as caught:
        decode("gzip", body)

    assert caught.value.status == 400


def test_a_zstd_frame_that_wants_hundreds_of_megabytes_for_its_window_is_refused() -> None:
    options = {zstd.CompressionParameter.window_log: 27}
    compressor = zstd.ZstdCompressor(options={int(name): value for name, value in options.items()})
    body = compressor.compress(TEXT) + compressor.flush()

    with pytest.raises(RequestError) as caught:
        decode("zstd", body)

    assert caught.value.status == 400


def test_libraries_for_rare_codings_are_not_imported_at_the_start() -> None:
    import subprocess

    code = "import sys, gateway.wire.content_encoding; print({'brotli', 'backports'} & set(sys.modules))"

    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
