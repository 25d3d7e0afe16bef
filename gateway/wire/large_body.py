"""Looking through a large body step by step: one long search holds up the whole process, from any thread."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

import msgspec

from gateway.errors import UnreadableBodyError

LARGE_BYTES = 1 << 20
"""What is smaller is decoded in the event loop; it takes milliseconds, whatever it holds."""
# Reading 50,000 messages stops the process for 16 ms at a time, looking for ids in them for 70. OpenAI takes
# 2,048 messages or inputs (API reference), and 300,000 tokens as numbers.
MOST_OBJECTS = 50_000
MOST_VALUES = 1_000_000
# Decoders call themselves for each level, and Python lets them do so 1,000 times less what has called them.
# Schemas of OpenAI's have 10 levels (Guides, "Structured outputs").
MOST_DEPTH = 500
# A search through so much takes a millisecond.
STEP_BYTES = 256 << 10
# A text with escapes takes 5 ns a byte to decode, in one step that nothing interrupts.
LONG_TEXT_BYTES = 256 << 10

_TEXT = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_MARK = re.compile(rb'["{}\[\],]')
_BRACKET = re.compile(rb"[\[\]{}]")


def refuse_costly_body(body: bytes) -> None:
    """Raise UnreadableBodyError for a JSON body of more objects, values or levels than any API takes.

    For a thread: no step of it takes longer than a few milliseconds, all of them up to a second.
    """
    # An upper bound is enough for many bodies: they are long texts and files.
    opened = count_in_steps(body, b"{") + count_in_steps(body, b"[")
    values = count_in_steps(body, b",")
    if opened <= min(MOST_OBJECTS, MOST_DEPTH) and values <= MOST_VALUES:
        return
    objects = values = depth = 0
    for start, end in _iter_between_texts(body):
        opened = body.count(b"{", start, end) + body.count(b"[", start, end)
        objects += opened
        values += body.count(b",", start, end)
        if objects > MOST_OBJECTS or values > MOST_VALUES:
            most = f"at most {MOST_OBJECTS} objects and arrays, and {MOST_VALUES} values, are read"
            raise _too_large(f"too many values: {most}", "too many values")
        if depth + opened > MOST_DEPTH and _is_too_deep(body[start:end], depth):
            raise _too_large(f"too many levels: at most {MOST_DEPTH} are read", "too many levels")
        depth += opened - body.count(b"}", start, end) - body.count(b"]", start, end)
        if depth < 0:
            # No JSON: its decoder stops here, too.
            return


def large_body_reason(body: bytes) -> str:
    """Return why no specialist gets such a body, empty if one may: its long texts are not decoded."""
    return "large body" if len(body) > LARGE_BYTES else ""


def find_top_names(body: bytes) -> list[bytes]:
    """Return the names of the fields at the top of a JSON object that is well-formed, as they are written.

    In steps like those of `refuse_costly_body`, and of as many values as it lets through.
    """
    names = []
    depth = at = 0
    is_name = False
    while mark := _MARK.search(body, at):
        at = mark.end()
        match mark[0]:
            case b'"':
                end = _end_of_text(body, at)
                if is_name:
                    names.append(body[at : end - 1])
                    is_name = False
                at = end
            case b",":
                is_name = depth == 1
            case b"{" | b"[":
                depth += 1
                is_name = depth == 1
            case _:
                depth -= 1
    return names


def is_long(value: msgspec.Raw) -> bool:
    """Return whether a JSON value is too long to be decoded in one step."""
    return memoryview(value).nbytes > LONG_TEXT_BYTES


def is_text(value: msgspec.Raw) -> bool:
    """Return whether a JSON value is a text."""
    return bytes(memoryview(value)[:1]) == b'"'


def read_as_written(text: msgspec.Raw) -> str:
    """Return a JSON text with its escapes as they are.

    To decode 31 MB of them in one step would stop all threads for 160 ms.
    """
    return str(memoryview(text)[1:-1], "utf-8")


def count_in_steps(body: bytes, what: bytes) -> int:
    """Return `body.count(what)`, for a `what` that cannot overlap itself."""
    if len(body) <= STEP_BYTES:
        return body.count(what)
    overlap = len(what) - 1
    starts = range(0, len(body), STEP_BYTES)
    return sum(body.count(what, start, start + STEP_BYTES + overlap) for start in starts)


def has_match(pattern: re.Pattern[bytes], body: bytes, longest_bytes: int) -> bool:
    """Return whether `pattern`, which matches at most `longest_bytes`, is found in `body`."""
    steps = range(0, max(1, len(body)), STEP_BYTES)
    return any(pattern.search(body, start, start + STEP_BYTES + longest_bytes) for start in steps)


def check_utf8(body: bytes) -> None:
    """Raise UnicodeDecodeError if `body` is not UTF-8."""
    if body.isascii():
        return
    if len(body) <= STEP_BYTES:
        body.decode()
        return
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(body), STEP_BYTES):
        try:
            decoder.decode(body[start : start + STEP_BYTES])
        except UnicodeDecodeError as exc:
            exc.start += start
            raise
    decoder.decode(b"", final=True)


def _iter_between_texts(body: bytes) -> Iterator[tuple[int, int]]:
    """Yield beginning and end of each part of a JSON body that is outside of its texts, in steps."""
    at = 0
    while at < len(body):
        quote = body.find(b'"', at, at + STEP_BYTES)
        end = min(len(body), at + STEP_BYTES) if quote < 0 else quote
        yield at, end
        at = end if quote < 0 else _end_of_text(body, quote + 1)


def _is_too_deep(part: bytes, depth: int) -> bool:
    """Return whether `part`, which begins at that `depth`, goes below the limit."""
    for bracket in _BRACKET.finditer(part):
        depth += 1 if bracket[0] in b"[{" else -1
        if depth > MOST_DEPTH:
            return True
    return False


def _end_of_text(body: bytes, start: int) -> int:
    """Return the place behind the quote that ends the text at `start`; the body's end without one."""
    while start < len(body):
        # A step that ends between a backslash and its character stops before both.
        found = _TEXT.match(body, start, start + STEP_BYTES)
        end = found.end() if found else start
        if body[end : end + 1] == b'"':
            return end + 1
        if end == start:
            return len(body)
        start = end
    return len(body)


def _too_large(what: str, reason: str) -> UnreadableBodyError:
    return UnreadableBodyError(
        f"The body of your request holds {what}.", reason=reason, status=413, code="request_too_large"
    )
