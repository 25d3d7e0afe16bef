"""Lists and records by their items: the loss is 1 - F1, the harmonic mean of precision and recall.

Source: van Rijsbergen 1979, "Information Retrieval".
"""

from __future__ import annotations

from gateway.confidence.agreement import Measure, canonical_text, refuse_option
from gateway.confidence.items import read_items

IS_GRADED = True


def create(option: str) -> Measure:
    """Return the measure. Raises ConfigError if there is an option."""
    refuse_option(option)
    return _measure


def _measure(teacher: str, draft: str) -> float:
    expected, found = read_items(teacher), read_items(draft)
    if not expected and not found:
        return 0.0 if _is_empty_alike(teacher, draft) else 1.0
    return 1.0 - 2.0 * len(expected & found) / (len(expected) + len(found))


def _is_empty_alike(teacher: str, draft: str) -> bool:
    """Return whether answers without items are both objects or both lists: no items is not no answer."""
    expected, found = canonical_text(teacher)[:1], canonical_text(draft)[:1]
    return expected == found and expected in ("{", "[")
