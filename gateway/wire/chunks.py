"""A finished text in chunks as small as those of a hosted model."""

from __future__ import annotations

import re
from hashlib import blake2b

# About the size of tokens.
_CHUNK = re.compile(r"\s*\S{1,6}|\s+")


def split_text(text: str) -> list[str]:
    """Return strings that join to exactly `text`."""
    return _CHUNK.findall(text)


def derive_item_id(answer_id: str, index: int) -> str:
    """Return the part of an id that tells item `index` of one answer from all other items."""
    return blake2b(f"{answer_id} {index}".encode(), digest_size=12).hexdigest()
