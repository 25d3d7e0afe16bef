"""Frames of a websocket (RFC 6455 section 5.2), read while their bytes arrive."""

from __future__ import annotations

import msgspec

TEXT, BINARY, CLOSE = 1, 2, 8
_CONTINUED = 0
_CONTROL = 8
_KNOWN = frozenset({_CONTINUED, TEXT, BINARY, CLOSE, 9, 10})
_FINAL, _COMPRESSED, _RESERVED = 0x80, 0x40, 0x30
_MASKED = 0x80
_MASK_BYTES = 4
# What the seven bits of a short length say if the length stands in 2 or 8 bytes behind them.
_LONG, _VERY_LONG = 126, 127
_MOST_CONTROL_BYTES = 125


class FrameError(Exception):
    """The bytes are no websocket's, or use an extension that nobody agreed to."""


class Part(msgspec.Struct, frozen=True):
    """A frame, or as much of it as has arrived."""

    raw: bytes
    """The bytes as they came, the frame's head among them."""
    data: bytes
    """What they carry, unmasked; still compressed if `is_compressed`."""
    is_control: bool
    is_close: bool
    is_binary: bool
    """Whether the message is one of bytes; it may hold text all the same."""
    is_compressed: bool
    """Whether the message is, by permessage-deflate (RFC 7692)."""
    ends_message: bool


class FrameParser:
    """Reads one direction of a websocket; `takes_compressed` if both ends agreed to permessage-deflate."""

    def __init__(self, *, takes_compressed: bool) -> None:
        self._takes_compressed = takes_compressed
        self._head = bytearray()
        self._left = 0
        """Bytes of the current frame that are still to come."""
        self._mask = b""
        self._first = 0
        """The first byte of the current frame's head."""
        self._message = 0
        """The first byte of the current message; 0 between two messages."""

    @property
    def is_between_messages(self) -> bool:
        """Whether another frame of any kind may stand here."""
        return not (self._message or self._head or self._left)

    @property
    def pending(self) -> bytes:
        """What came of a frame's head that is not whole: no part holds it yet."""
        return bytes(self._head)

    def feed(self, data: bytes) -> list[Part]:
        """Return the parts in `data`. Raises FrameError: nothing that follows can be read."""
        parts = []
        at = 0
        while at < len(data):
            raw = b""
            if not self._left:
                at = self._take_head(data, at)
                if not self._is_head_whole():
                    break
                raw = bytes(self._head)
                self._begin_frame()
            payload = data[at : at + self._left]
            at += len(payload)
            parts.append(self._make_part(raw + payload if raw else payload, payload))
        return parts

    def _take_head(self, data: bytes, at: int) -> int:
        """Add to the head what `data` has of it, and return where it ends."""
        while not self._is_head_whole() and at < len(data):
            missing = self._head_bytes() - len(self._head)
            self._head += data[at : at + missing]
            at += min(missing, len(data) - at)
        return at

    def _is_head_whole(self) -> bool:
        return len(self._head) >= 2 and len(self._head) == self._head_bytes()

    def _head_bytes(self) -> int:
        if len(self._head) < 2:
            return 2
        short = self._head[1] & 0x7F
        extended = 8 if short == _VERY_LONG else 2 if short == _LONG else 0
        return 2 + extended + (_MASK_BYTES if self._head[1] & _MASKED else 0)

    def _begin_frame(self) -> None:
        head, self._head = self._head, bytearray()
        self._first = head[0]
        self._check(head)
        short = head[1] & 0x7F
        extended = 8 if short == _VERY_LONG else 2 if short == _LONG else 0
        self._left = int.from_bytes(head[2 : 2 + extended]) if extended else short
        self._mask = bytes(head[2 + extended :])
        if not self._is_control():
            self._message = self._message or self._first

    def _check(self, head: bytearray) -> None:
        first, opcode = head[0], head[0] & 0x0F
        is_begun = bool(self._message)
        is_compressed = bool(first & _COMPRESSED)
        if opcode not in _KNOWN or first & _RESERVED:
            raise FrameError
        if opcode >= _CONTROL:
            is_wrong = not first & _FINAL or is_compressed or head[1] & 0x7F > _MOST_CONTROL_BYTES
        else:
            # The first frame of a message says what it is, and whether it is compressed.
            is_wrong = (opcode == _CONTINUED) is not is_begun
            is_wrong = is_wrong or (is_compressed and (is_begun or not self._takes_compressed))
        if is_wrong:
            raise FrameError

    def _is_control(self) -> bool:
        return self._first & 0x0F >= _CONTROL

    def _make_part(self, raw: bytes, payload: bytes) -> Part:
        data = _unmask(payload, self._mask) if self._mask else payload
        self._left -= len(payload)
        turn = len(payload) % _MASK_BYTES
        self._mask = self._mask[turn:] + self._mask[:turn]
        is_control = self._is_control()
        message = self._message
        ends = not is_control and not self._left and bool(self._first & _FINAL)
        if ends:
            self._message = 0
        return Part(
            raw=raw,
            data=data,
            is_control=is_control,
            is_close=self._first & 0x0F == CLOSE,
            is_binary=message & 0x0F == BINARY,
            is_compressed=not is_control and bool(message & _COMPRESSED),
            ends_message=ends,
        )


def encode_frame(opcode: int, data: bytes, *, is_masked: bool = False) -> bytes:
    """Return a whole frame; those of clients are masked, by zeros: the bytes are no browser's to choose."""
    size = len(data)
    bit = _MASKED if is_masked else 0
    if size < _LONG:
        length = bytes([bit | size])
    elif size < 1 << 16:
        length = bytes([bit | _LONG]) + size.to_bytes(2)
    else:
        length = bytes([bit | _VERY_LONG]) + size.to_bytes(8)
    return bytes([_FINAL | opcode]) + length + (bytes(_MASK_BYTES) if is_masked else b"") + data


def encode_close(code: int, reason: str, *, is_masked: bool = False) -> bytes:
    """Return a close frame with one of the codes of RFC 6455 section 7.4.1."""
    said = reason.encode()[: _MOST_CONTROL_BYTES - 2].decode(errors="ignore").encode()
    return encode_frame(CLOSE, code.to_bytes(2) + said, is_masked=is_masked)


def _unmask(data: bytes, mask: bytes) -> bytes:
    # As one long number: a loop over the bytes takes a hundred times as long.
    key = (mask * (len(data) // _MASK_BYTES + 1))[: len(data)]
    return (int.from_bytes(data) ^ int.from_bytes(key)).to_bytes(len(data))
