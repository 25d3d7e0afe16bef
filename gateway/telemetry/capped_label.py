"""A bound on the values of a metric's label."""

from __future__ import annotations

OTHER = "other"


class CappedLabel:
    """The first `size` values of a label; later ones are all called "other"."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: set[str] = set()

    def cap_label(self, value: str) -> str:
        """Return `value`, or "other" if it is one too many."""
        if value in self._known:
            return value
        if len(self._known) >= self._size:
            return OTHER
        self._known.add(value)
        return value
