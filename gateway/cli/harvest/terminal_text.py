"""Texts of others as a terminal may show them: nothing in them moves the cursor or hides letters."""

from __future__ import annotations

import unicodedata

_JOINERS = "\u200c\u200d"
"""Words of Persian and Indic scripts need them, and families of emoji; they change nothing else."""


def make_visible(text: str, keeps: str = "") -> str:
    """Return `text` with what a terminal could obey written as an escape, but for what `keeps` holds."""
    return "".join(letter if _is_harmless(letter) or letter in keeps else _escape(letter) for letter in text)


def _is_harmless(letter: str) -> bool:
    return letter.isprintable() or letter in _JOINERS or unicodedata.category(letter) == "Zs"


def _escape(letter: str) -> str:
    return ascii(letter)[1:-1]
