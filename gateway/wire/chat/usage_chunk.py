"""Asking for usage in a stream when its client did not, and keeping the chunk with it from that client."""

from __future__ import annotations

import re

import msgspec

from gateway.wire.sse import DONE, iter_events

_FIELD = b',"stream_options":{"include_usage":true}}'
_EVENT_END = re.compile(rb"(?:\r\n|\n|\r)(?:\r\n|\n|\r)+")
_NOTHING = msgspec.Raw(b"null")


class _Chunk(msgspec.Struct):
    choices: list[msgspec.Raw] | None = None
    usage: msgspec.Raw = _NOTHING


_chunks = msgspec.json.Decoder(_Chunk)


def ask_for_usage(body: bytes) -> bytes | None:
    """Return the body of a chat request with `stream_options.include_usage`, else byte for byte as it was.

    None if the body has that field already, in whatever form: it is then the client's to say.
    """
    stripped = body.rstrip()
    if b'"stream_options"' in body or not stripped.endswith(b"}"):
        return None
    return stripped[:-1] + _FIELD


def drop_usage_chunk(events: bytes) -> bytes:
    """Return whole `events` without the chunk that holds nothing but usage."""
    if b'"usage"' not in events:
        return events
    kept, start = [], 0
    for end in _EVENT_END.finditer(events):
        event = events[start : end.end()]
        start = end.end()
        if not _is_usage_chunk(event):
            kept.append(event)
    return b"".join((*kept, events[start:]))


def _is_usage_chunk(event: bytes) -> bool:
    if b'"usage"' not in event:
        return False
    data = next(iter_events(event), DONE)
    try:
        chunk = _chunks.decode(data)
    except (ValueError, RecursionError):
        return False
    return chunk.choices == [] and bytes(chunk.usage) != b"null"
