"""Server-sent events as OpenAI uses them: reading whole streams, ending broken ones."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from gateway.wire.errors import error_value

DONE = b"[DONE]"


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
    for line in _lines(data):
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
    """Return how many bytes of `data` are whole events; half an event, or nothing, follows them."""
    plain, carriage = data.rfind(b"\n\n"), data.rfind(b"\r\n\r\n")
    return max(plain + 2 if plain >= 0 else 0, carriage + 4 if carriage >= 0 else 0)


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
