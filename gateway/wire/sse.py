"""Server-sent events as OpenAI uses them: reading whole streams, ending broken ones."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from gateway.wire.errors import error_value

DONE = b"[DONE]"
# A generated picture in base64 is an event of a few MB. What is longer passes before its end is known.
LONGEST_HELD_BYTES = 64 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class _ChunkChoice(msgspec.Struct):
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_ChunkChoice] = []
    error: object = None


_chunks = msgspec.json.Decoder(_Chunk)


def iter_events(data: bytes) -> Iterator[bytes]:
    """Yield the data of each event in `data`, several data lines joined by newline.

    Comments, other fields and events without data are skipped. A last event without
    a blank line after it is yielded too: some servers leave that line out.
    """
    pieces: list[bytes] = []
    # A stream may begin with a byte order mark, which is no part of its first line.
    for line in _lines(data.removeprefix(_BYTE_ORDER_MARK)):
        if line.startswith(b"data:"):
            pieces.append(line[5:].removeprefix(b" "))
        elif not line and pieces:
            yield b"\n".join(pieces)
            pieces = []
    if pieces:
        yield b"\n".join(pieces)


def ends_complete(tail: bytes) -> bool:
    """Return whether `tail`, the last bytes of a stream, marks its end.

    `[DONE]` does, a chunk with a finish reason, and an error of the teacher's: nothing need follow
    them. `tail` may begin inside an event.
    """
    return any(event == DONE or _finishes(event) for event in iter_events(tail))


def last_event_end(data: bytes) -> int:
    """Return how many bytes of `data` are whole events; half an event, or nothing, follows them.

    Lines end with CR, LF or CRLF in any mix. A CR at the very end counts at once: whether it is half a
    CRLF only the next bytes tell, and the event is whole either way.
    """
    # Of two line ends in a row, the second ends an empty line. CRLF by itself is one line end.
    last = max(data.rfind(b"\n\n"), data.rfind(b"\n\r"), data.rfind(b"\r\r"))
    end = last + 2 if last >= 0 else 0
    return end + 1 if end and data[end - 1 : end + 1] == b"\r\n" else end


class EventSplitter:
    """Holds the bytes of a stream back until an event is whole; each byte is looked at once."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._size = 0
        self.is_over_limit = False
        """Whether an event was too long to be held: from then on, bytes pass as they come."""

    def feed(self, piece: bytes) -> bytes:
        """Return the whole events that `piece` ends, perhaps none."""
        if self.is_over_limit:
            return piece
        # An end may begin with the last byte that is held.
        before = self._held[-1][-1:] if self._held else b""
        end = last_event_end(before + piece) - len(before)
        if end > 0:
            ready = b"".join((*self._held, piece[:end])) if self._held else piece[:end]
            self._held, self._size = [], 0
            piece = piece[end:]
        else:
            ready = b""
        if piece:
            self._held.append(piece)
            self._size += len(piece)
        if self._size > LONGEST_HELD_BYTES:
            self.is_over_limit = True
            return ready + self.take_rest()
        return ready

    def take_rest(self) -> bytes:
        """Return what is held, half an event, and hold it no longer."""
        rest = b"".join(self._held)
        self._held, self._size = [], 0
        return rest


def error_event(tail: bytes, message: str, kind: str, code: str | None) -> bytes:
    """Return the event that ends a broken stream; it must follow a whole event (`last_event_end`).

    OpenAI's clients raise it as an APIError. It does not depend on `tail`.
    """
    return b"data: %b\n\n" % msgspec.json.encode(error_value(message, kind, None, code))


def _lines(data: bytes) -> list[bytes]:
    # bytes.splitlines splits at exactly the line ends of the standard: CRLF, LF, CR.
    return data.splitlines()


def _finishes(event: bytes) -> bool:
    if b"finish_reason" not in event and b'"error"' not in event:
        return False
    try:
        chunk = _chunks.decode(event)
    except (ValueError, RecursionError):
        return False
    return bool(chunk.error) or any(choice.finish_reason for choice in chunk.choices)
