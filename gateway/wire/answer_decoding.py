"""An answer's content-encoding undone piece by piece, as it arrives."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from gateway.wire.content_encoding import ZSTD_WINDOW_LOG, deflate_window

STEP_BYTES = 1 << 20
# A longer answer is a decompression bomb, or bytes of images: only its usage is looked for.
MAX_DECODED_BYTES = 32 << 20


class DamagedAnswerError(ValueError):
    """The answer is not what its content-encoding says, or we do not know that."""


class AnswerTooLongError(DamagedAnswerError):
    """The answer grows beyond what is read whole."""


class Decoder(Protocol):
    """Undoes one content-encoding."""

    def decode(self, piece: bytes) -> Iterator[bytes]:
        """Yield what `piece` adds, in parts of hardly more than STEP_BYTES. Raises DamagedAnswerError."""


def create_decoder(encoding: str) -> Decoder:
    """Return the decoder for the value of a content-encoding header."""
    match encoding.strip().lower():
        case "" | "identity":
            return _Plain()
        case "gzip" | "x-gzip":
            return _Inflater(16 + zlib.MAX_WBITS)
        case "deflate":
            return _Inflater(None)
        case "br":
            return _Brotli()
        case "zstd":
            return _Zstd()
    return _Unknown()


def decode_answer(answer: bytes, encoding: str) -> bytes:
    """Return `answer` without its content-encoding; it may lack its end.

    Raises DamagedAnswerError for an encoding that we do not know and for damaged bytes,
    AnswerTooLongError beyond MAX_DECODED_BYTES.
    """
    if not encoding:
        return answer
    parts: list[bytes] = []
    size = 0
    for part in create_decoder(encoding).decode(answer):
        parts.append(part)
        size += len(part)
        if size > MAX_DECODED_BYTES:
            raise AnswerTooLongError
    return b"".join(parts)


class _Plain:
    def decode(self, piece: bytes) -> Iterator[bytes]:
        yield piece


class _Unknown:
    def decode(self, piece: bytes) -> Iterator[bytes]:
        raise DamagedAnswerError


class _Inflater:
    """gzip (several members, too) and deflate, in the zlib form or the raw one that some servers send."""

    def __init__(self, window_bits: int | None) -> None:
        self._window_bits = window_bits
        self._decompressor: Any = None

    def decode(self, piece: bytes) -> Iterator[bytes]:
        while piece:
            if self._decompressor is None or self._decompressor.eof:
                self._decompressor = zlib.decompressobj(self._window_bits or deflate_window(piece))
            try:
                part = self._decompressor.decompress(piece, STEP_BYTES)
                yield part
                while len(part) == STEP_BYTES and not self._decompressor.unconsumed_tail:
                    part = self._decompressor.decompress(b"", STEP_BYTES)
                    yield part
            except zlib.error as exc:
                raise DamagedAnswerError from exc
            piece = self._decompressor.unused_data or self._decompressor.unconsumed_tail


class _Brotli:
    def __init__(self) -> None:
        import brotli

        self._error = brotli.error
        self._decompressor = brotli.Decompressor()

    def decode(self, piece: bytes) -> Iterator[bytes]:
        try:
            while part := self._decompressor.process(piece, output_buffer_limit=STEP_BYTES):
                yield part
                # `can_accept_more_data` is True while it still holds what went beyond the limit.
                if self._decompressor.is_finished():
                    return
                piece = b""
        except self._error as exc:
            raise DamagedAnswerError from exc


class _Zstd:
    def __init__(self) -> None:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd

        self._error = zstd.ZstdError
        options = {int(zstd.DecompressionParameter.window_log_max): ZSTD_WINDOW_LOG}
        self._create: Callable[[], Any] = lambda: zstd.ZstdDecompressor(options=options)
        self._decompressor = self._create()

    def decode(self, piece: bytes) -> Iterator[bytes]:
        while piece:
            if self._decompressor.eof:
                self._decompressor = self._create()
            try:
                yield self._decompressor.decompress(piece, STEP_BYTES)
                while not self._decompressor.needs_input and not self._decompressor.eof:
                    yield self._decompressor.decompress(b"", STEP_BYTES)
            except self._error as exc:
                raise DamagedAnswerError from exc
            piece = self._decompressor.unused_data
