"""A finished text in the pieces in which a hosted model's text comes."""

from __future__ import annotations

import re
from hashlib import blake2b

# About the size of tokens.
_PIECE = re.compile(r"\s*\S{1,6}|\s+")


def pieces(text: str) -> list[str]:
    """Return strings which join to exactly `text`."""
    return _PIECE.findall(text)


def item_id(answer_id: str, index: int) -> str:
    """Return the part of an id which tells the items of one answer from all others."""
    return blake2b(f"{answer_id} {index}".encode(), digest_size=12).hexdigest()
