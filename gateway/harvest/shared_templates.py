"""What the rows of a template have in common: its text, and how their conversations begin."""

from __future__ import annotations

from hashlib import blake2b
from typing import TypeVar

import msgspec

from gateway.harvest.base import Row

K = TypeVar("K")
V = TypeVar("V")

LONGEST_OWN = 200
"""Characters of a template that each row keeps for itself."""
MOST_KNOWN = 32
"""Templates that are remembered at once."""
_LONGEST_KNOWN = 1 << 17
"""Characters of a template."""
_TEMPLATE_ROLES = frozenset({"system", "developer"})


class SharedTemplate(msgspec.Struct, frozen=True):
    """A template's text, and the bytes of its messages before the first that varies, empty without any."""

    key: str
    """The hash of both."""
    text: str
    prefix: bytes


class _Spoken(msgspec.Struct):
    role: str = ""


_list_raw = msgspec.json.Decoder(list[msgspec.Raw]).decode
_read_message = msgspec.json.Decoder(_Spoken).decode


class TemplateSharer:
    """Says what rows share; a template seen lately costs two comparisons, not a hash."""

    def __init__(self) -> None:
        self._known: dict[str, SharedTemplate] = {}

    def share_template(self, row: Row) -> SharedTemplate:
        """Return what `row` has in common with others.

        A short template has no prefix. With `[` before it, what follows a prefix is JSON.
        """
        text, is_long = row.template_text, len(row.template_text) > LONGEST_OWN
        known = self._known.get(row.template)
        if known is not None and known.text == text and _begins_with(row.messages, known, is_long):
            return known
        shared = _make_shared(text, _find_prefix(row.messages) if is_long else b"")
        if len(text) <= _LONGEST_KNOWN:
            remember(self._known, row.template, shared)
        return shared


def remember(known: dict[K, V], key: K, value: V) -> None:
    """Add to what is known of templates; the oldest goes if it is too much."""
    known[key] = value
    if len(known) > MOST_KNOWN:
        del known[next(iter(known))]


def _begins_with(messages: bytes, known: SharedTemplate, is_long: bool) -> bool:
    """Whether the prefix that is known is that of `messages`; of a long one, none proves nothing."""
    return messages.startswith(known.prefix) and bool(known.prefix or not is_long)


def _make_shared(text: str, prefix: bytes) -> SharedTemplate:
    packed = text.encode("utf-8", "surrogatepass")
    digest = blake2b(len(packed).to_bytes(8), digest_size=16)
    digest.update(packed)
    digest.update(prefix)
    return SharedTemplate(digest.hexdigest(), text, prefix)


def _find_prefix(messages: bytes) -> bytes:
    end = 0
    try:
        for raw in _list_raw(messages):
            # No brace stands between two messages, so the first such bytes are this one.
            start = messages.index(raw, end)
            if _read_message(raw).role not in _TEMPLATE_ROLES:
                return messages[:start] if end else b""
            end = start + len(memoryview(raw))
    except (msgspec.MsgspecError, RecursionError):
        # A row that its readers will set aside.
        pass
    return b""
