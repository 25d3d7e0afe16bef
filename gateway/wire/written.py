"""How much a teacher wrote, whatever the shape of its answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from gateway.wire.sse import DONE

_values = msgspec.json.Decoder()
# Not written by the model, or encoded bytes that are no text.
_NO_TEXT = frozenset(
    {"id", "type", "role", "object", "status", "model", "call_id", "item_id", "data", "signature"}
    | {"encrypted_content", "b64_json", "annotations", "logprobs", "finish_reason", "file_id", "container_id"}
    | {"obfuscation", "service_tier", "system_fingerprint"}
)


def count_written_bytes(value: object) -> int:
    """Return the UTF-8 bytes of all texts in a message of any shape."""
    return sum(utf8_bytes(text) for text in _iter_strings(value))


def count_written_choices(events: Iterable[bytes]) -> int:
    """Return the bytes of text in the choices of chunks or bodies; one that is cut counts as it is."""
    return sum(_count_in(event) for event in events if event != DONE)


def utf8_bytes(text: str) -> int:
    """Return the length of `text` in UTF-8."""
    # Python knows already whether a text is ASCII: most texts need no copy to be measured.
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def _iter_strings(value: object) -> Iterator[str]:
    """Yield the texts of a message of any shape: contents, parts, reasoning, refusals, calls."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _iter_strings(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name not in _NO_TEXT:
                yield from _iter_strings(item)


def _count_in(event: bytes) -> int:
    if b'"choices"' not in event:
        return 0
    try:
        value: Any = _values.decode(event)
        return sum(count_written_bytes(_written_of(choice)) for choice in value["choices"])
    except msgspec.DecodeError:
        # Only the last body or event can be cut.
        return len(event)
    except (ValueError, RecursionError, AttributeError, TypeError, KeyError):
        return 0


def _written_of(choice: Any) -> object:
    """Return what one choice adds: a message, a delta, or the text of the old completions."""
    return choice.get("message") or choice.get("delta") or choice.get("text")
