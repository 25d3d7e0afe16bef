"""Server-sent events as OpenAI uses them: reading whole ones, ending broken ones."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from gateway.wire.errors import error_value

DONE = b"[DONE]"


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    error: object = None


_chunks = msgspec.json.Decoder(_Chunk)


def iter_events(data: bytes) -> Iterator[bytes]:
    """Yield the data of each event in `data`, several data lines joined by newline.

    Comments, other fields and events without data are skipped. An event which nothing
    terminates is yielded too: servers forget the last blank line.
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
    """Return whether the stream which ended with `tail` says so.

    That is: by `[DONE]`, a chunk with a finish reason, or an error of the teacher's, to which nothing
    is to be added. `tail` may begin inside an event.
    """
    return any(event == DONE or _finishes(event) for event in iter_events(tail))


def last_event_end(data: bytes) -> int:
    """Return how many bytes of `data` are whole events; what follows is half of one, or nothing."""
    plain, carriage = data.rfind(b"\n\n"), data.rfind(b"\r\n\r\n")
    return max(plain + 2 if plain >= 0 else 0, carriage + 4 if carriage >= 0 else 0)


def error_event(tail: bytes, message: str, kind: str, code: str | None) -> bytes:
    """Return the event which ends a broken stream, to follow a whole one (`last_event_end`).

    OpenAI's clients raise it as an APIError. It is the same whatever `tail` came before.
    """
    return b"data: %b\n\n" % msgspec.json.encode(error_value(message, kind, None, code))


def _lines(data: bytes) -> list[bytes]:
    # bytes.splitlines splits at exactly what the standard calls a line end: CRLF, LF, CR.
    return data.splitlines()


def _finishes(event: bytes) -> bool:
    if b"finish_reason" not in event and b'"error"' not in event:
        return False
    try:
        chunk = _chunks.decode(event)
    except (ValueError, RecursionError):
        return False
    return bool(chunk.error) or any(choice.finish_reason for choice in chunk.choices)
