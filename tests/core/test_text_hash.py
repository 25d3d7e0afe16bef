from __future__ import annotations

import sys
import unicodedata

from gateway.core import hash_text, normalize_text


def test_spellings_of_a_text_share_a_hash() -> None:
    assert hash_text(" caf\u00e9  au lait\n") == hash_text("cafe\u0301 au lait")


def test_a_long_run_of_marks_stays_as_it_is() -> None:
    """A megabyte of them, sorted, would hold up the process for a quarter of an hour."""
    text = "e" + "\u0301\u0323" * 500_000

    assert normalize_text(text) == text
    assert hash_text(text) != hash_text("e")


def test_every_mark_that_unicode_sorts_counts() -> None:
    marks = [chr(code) for code in range(sys.maxunicode) if unicodedata.combining(chr(code))]
    assert [mark for mark in marks if normalize_text(mark * 40 + "e\u0301") != mark * 40 + "e\u0301"] == []
