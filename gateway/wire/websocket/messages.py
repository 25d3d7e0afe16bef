"""The messages of one direction of a websocket, put together from the parts of their frames."""

from __future__ import annotations

import codecs
import json
import zlib

import msgspec

from gateway.core import Excerpt
from gateway.wire.long_answer import LongAnswer
from gateway.wire.websocket.frames import FrameError, Part

# More than this out of one message is no event of any API, but an attack on the memory.
MOST_DECODED_BYTES = 32 << 20
_STEP_BYTES = 256 << 10
# What permessage-deflate leaves out at the end of each message (RFC 7692 section 7.2.1).
_END = b"\x00\x00\xff\xff"


class Message(msgspec.Struct, frozen=True):
    """A whole message; of one longer than the limit `content` is empty and `excerpt` tells what is kept."""

    content: bytes
    is_binary: bool = False
    excerpt: Excerpt | None = None


def to_utf8(message: Message) -> Message:
    """Return the message in UTF-8: servers may take JSON in another encoding in a message of bytes."""
    content = message.content
    if b"\0" not in content and not content.startswith(codecs.BOM_UTF8):
        return message
    try:
        text = content.decode(json.detect_encoding(content)).removeprefix("\ufeff")
    except UnicodeDecodeError:
        return message
    return msgspec.structs.replace(message, content=text.encode(errors="replace"))


class MessageReader:
    """Collects one direction's messages, each up to `limit_bytes`."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._inflater = _Inflater()
        self._pieces: list[bytes] = []
        self._size = 0
        self._long: LongAnswer | None = None

    def take(self, part: Part) -> Message | None:
        """Take a part that is no control frame's; return its message if it is the last one.

        Raises FrameError for data that cannot be decompressed, or grows too large.
        """
        data = part.data
        if part.is_compressed:
            data = self._inflater.inflate(data, ends_message=part.ends_message)
        self._size += len(data)
        if self._long is None and self._size > self._limit:
            self._long = LongAnswer("")
            self._long.take(b"".join(self._pieces))
            self._pieces.clear()
        if self._long is None:
            self._pieces.append(data)
        else:
            self._long.take(data)
        return self._finish(part) if part.ends_message else None

    def _finish(self, part: Part) -> Message:
        long = self._long
        content = b"".join(self._pieces)
        self._pieces, self._long, self._size = [], None, 0
        return Message(content, part.is_binary, long.excerpt() if long else None)


class _Inflater:
    """Undoes permessage-deflate; a sender that begins anew with each message refers to nothing before it."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)
        self._size = 0

    def inflate(self, data: bytes, *, ends_message: bool) -> bytes:
        """Return what `data`, the next bytes of a message, stands for. Raises FrameError."""
        found = self._inflate(data) + (self._inflate(_END) if ends_message else b"")
        self._size = 0 if ends_message else self._size + len(found)
        return found

    def _inflate(self, data: bytes) -> bytes:
        pieces = [b""]
        size = self._size
        while data or len(pieces[-1]) == _STEP_BYTES:
            try:
                pieces.append(self._zlib.decompress(data, _STEP_BYTES))
            except zlib.error as exc:
                raise FrameError from exc
            size += len(pieces[-1])
            if size > MOST_DECODED_BYTES:
                raise FrameError
            data = self._zlib.unconsumed_tail
            if self._zlib.eof:
                # A sender may end its last block (RFC 7692 section 7.2.3.4); what follows begins anew.
                data, self._zlib = self._zlib.unused_data, zlib.decompressobj(-zlib.MAX_WBITS)
        return b"".join(pieces)
