"""The same words: letter case, white space and punctuation at the ends of words do not count."""

from __future__ import annotations

from gateway.confidence.agreement import Measure, refuse_option
from gateway.core import normalize_text

IS_GRADED = False

_PUNCTUATION = ".,;:!?\"'`()[]{}\u2018\u2019\u201c\u201d\u00ab\u00bb\u2026\u3002\u3001\uff0c\uff01\uff1f"
"""Without signs that change what a word says, as in -5, 5%, $5 or C#."""


def create(option: str) -> Measure:
    """Return the measure. Raises ConfigError if there is an option."""
    refuse_option(option)
    return _measure


def _measure(teacher: str, draft: str) -> float:
    expected, found = _read_words(teacher), _read_words(draft)
    # Texts of punctuation alone have nothing left to be compared by, and are not exactly equal.
    return 0.0 if expected and expected == found else 1.0


def _read_words(text: str) -> list[str]:
    words = normalize_text(text).casefold().split()
    return [word for each in words if (word := _strip_punctuation(each))]


def _strip_punctuation(word: str) -> str:
    """Return `word` without the punctuation at its ends, but for the point of .5 or .NET."""
    inner = word.strip(_PUNCTUATION)
    before = word[: word.index(inner)]
    has_point = inner and before.endswith(".") and not before.endswith("..")
    return f".{inner}" if has_point else inner
