"""The content-encodings that a request's body may have."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

import msgspec

from gateway.core import Header
from gateway.errors import RequestError, UnreadableBodyError

if TYPE_CHECKING:
    import brotli

READABLE_REQUESTS = b"gzip, deflate, br, zstd"
"""The codings of request bodies that `decode_body` undoes, as an Accept-Encoding value (RFC 7694)."""
# Each coding may grow the body to the limit once: more of them are an attack, not a saving.
MOST_CODINGS = 4
# A gzip or zstd body may be many parts in a row (RFC 1952 section 2.2, RFC 8878 section 3). Each costs an
# object: tools that write them make one per 64 KB or more.
MOST_PARTS = 10_000
# Small enough that the loop beside such a thread is not kept waiting.
STEP_BYTES = 64 << 10
# RFC 9659: zstd in HTTP needs no larger window than 8 MB. A frame may ask for 2 GB.
ZSTD_WINDOW_LOG = 23

_Errors = tuple[type[Exception], ...]


class _Decompressor(Protocol):
    """What zlib and zstd have in common; it reads one part of a body."""

    @property
    def eof(self) -> bool:
        """Whether the part is whole."""

    @property
    def unused_data(self) -> bytes:
        """The bytes after the part."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Return the next bytes, not many more than `max_length`; if fewer, then all of `data` is used.

        Else the next call gets `unconsumed_tail`, which zlib alone has: the others keep it themselves.
        """


class _Coding(msgspec.Struct, frozen=True):
    """How one content-coding is undone."""

    begin: Callable[[bytes], _Decompressor]
    """Takes the first bytes of a part."""
    errors: _Errors
    most_parts: int = 1


def content_codings(headers: Iterable[Header]) -> list[bytes]:
    """Return the codings that a message's Content-Encoding names, in the order of encoding."""
    values = [value for name, value in headers if name == b"content-encoding"]
    if not values:
        return []
    names = [name.strip().lower() for value in values for name in value.split(b",")]
    return [name for name in names if name not in (b"", b"identity")]


def decode_body(headers: Iterable[Header], body: bytes, limit_bytes: int) -> bytes:
    """Return the `body` of a request without its content-encodings; the same object if it has none.

    May take tenths of a second for a large body: not for an event loop. No step holds much more than
    `limit_bytes`. Raises UnreadableBodyError (415) for a coding that we do not know, RequestError for
    damaged bytes (400) and for a body that grows beyond the limit (413).
    """
    codings = content_codings(headers)
    if len(codings) > MOST_CODINGS:
        raise _unsupported("so many of them")
    for name in reversed(codings):
        coding = _find_coding(name)
        if coding is None:
            raise _unsupported(name[:40].decode("latin-1"))
        if body:
            body = _decode(body, coding, name, limit_bytes)
    return body


def deflate_window(data: bytes) -> int:
    """Return the window for zlib: some senders of `deflate` leave out the frame of RFC 1950."""
    has_frame = data[:1] == b"\x78" and int.from_bytes(data[:2]) % 31 == 0
    return zlib.MAX_WBITS if has_frame else -zlib.MAX_WBITS


def _decode(body: bytes, coding: _Coding, name: bytes, limit_bytes: int) -> bytes:
    """Return `body` without one coding, read in steps so that it never grows far beyond the limit."""
    pieces: list[bytes] = []
    size = 0
    try:
        for piece in _iter_decoded(body, coding):
            pieces.append(piece)
            size += len(piece)
            if size > limit_bytes:
                raise _too_large(limit_bytes)
    except coding.errors as exc:
        raise _damaged(name) from exc
    return b"".join(pieces)


def _iter_decoded(body: bytes, coding: _Coding) -> Iterator[bytes]:
    """Yield `body` decoded, in pieces of about STEP_BYTES.

    Raises EOFError if it ends inside a part or goes on after its last one.
    """
    part: _Decompressor | None = None
    parts = 0
    for start in range(0, len(body), STEP_BYTES):
        data = body[start : start + STEP_BYTES]
        while data:
            if part is None:
                part, parts = coding.begin(data), parts + 1
                if parts > coding.most_parts:
                    raise EOFError
            piece = part.decompress(data, STEP_BYTES)
            yield piece
            while len(piece) >= STEP_BYTES and not part.eof:
                piece = part.decompress(getattr(part, "unconsumed_tail", b""), STEP_BYTES)
                yield piece
            if not part.eof:
                break
            data, part = part.unused_data, None
    if part is not None:
        raise EOFError


def _find_coding(name: bytes) -> _Coding | None:
    """Return how `name` is undone, None if we do not know it; br and zstd are imported when they come."""
    match name:
        case b"gzip" | b"x-gzip":
            return _Coding(
                lambda _: zlib.decompressobj(16 + zlib.MAX_WBITS), (zlib.error, EOFError), MOST_PARTS
            )
        case b"deflate":
            return _Coding(lambda data: zlib.decompressobj(deflate_window(data)), (zlib.error, EOFError))
        case b"br":
            return _brotli_coding()
        case b"zstd":
            return _zstd_coding()
    return None


def _brotli_coding() -> _Coding:
    import brotli

    return _Coding(lambda _: _Brotli(brotli.Decompressor()), (brotli.error, EOFError))


def _zstd_coding() -> _Coding:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd

    options = {int(zstd.DecompressionParameter.window_log_max): ZSTD_WINDOW_LOG}
    return _Coding(lambda _: zstd.ZstdDecompressor(options=options), (zstd.ZstdError, EOFError), MOST_PARTS)


class _Brotli:
    """Brotli's decompressor with the words of zlib's; it refuses bytes after the end itself."""

    unused_data = b""

    def __init__(self, decompressor: brotli.Decompressor) -> None:
        self._decompressor = decompressor

    @property
    def eof(self) -> bool:
        """Whether the part is whole."""
        is_finished: bool = self._decompressor.is_finished()
        return is_finished

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Return the next bytes; see _Decompressor."""
        piece: bytes = self._decompressor.process(data, output_buffer_limit=max_length)
        return piece


def _unsupported(coding: str) -> UnreadableBodyError:
    return UnreadableBodyError(
        f"Unsupported content-encoding: {coding}. Supported are {READABLE_REQUESTS.decode()}.",
        reason="content-encoding",
        status=415,
        param="content-encoding",
        code="unsupported_content_encoding",
    )


def _damaged(name: bytes) -> RequestError:
    return RequestError(
        f"We could not decode the body of your request: it is not whole, valid {name.decode()}.",
        param="content-encoding",
        code="invalid_content_encoding",
    )


def _too_large(limit_bytes: int) -> RequestError:
    return RequestError(
        f"The decoded request body is larger than the {limit_bytes} bytes allowed here.",
        status=413,
        code="request_too_large",
    )
