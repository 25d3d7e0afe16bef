"""Frames on a byte stream: four bytes of length, big-endian, then that many bytes of payload."""

from __future__ import annotations

import struct
from collections.abc import Iterator

MAX_FRAME_BYTES = 1 << 20

_LENGTH = struct.Struct(">I")


class FrameError(Exception):
    """Not a frame, or not a message of the protocol; received, it means: close the connection."""


def frame_payload(payload: bytes) -> bytes:
    """Return `payload` behind its length. Raises FrameError beyond MAX_FRAME_BYTES."""
    _refuse_long(len(payload))
    return _LENGTH.pack(len(payload)) + payload


class FrameDecoder:
    """Cuts the bytes that one connection receives into payloads."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield every payload that `data` completes. Raises FrameError for an impossible length."""
        self._buffer += data
        start = 0
        while len(self._buffer) - start >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._buffer, start)
            _refuse_long(size)
            end = start + _LENGTH.size + size
            if len(self._buffer) < end:
                break
            yield bytes(self._buffer[start + _LENGTH.size : end])
            start = end
        del self._buffer[:start]


def _refuse_long(size: int) -> None:
    if size > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {size} bytes; at most {MAX_FRAME_BYTES} are allowed")
