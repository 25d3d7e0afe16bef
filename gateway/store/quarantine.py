"""Rows of a table that cannot be read: set aside and named, so that the others still can."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import msgspec

logger = logging.getLogger(__name__)

T = TypeVar("T")

_UNREADABLE = (msgspec.MsgspecError, ValueError, TypeError, KeyError)


class Quarantine:
    """Reads the rows of the table `name`; what it says of a row is said once."""

    def __init__(self, name: str, effect: str) -> None:
        """`effect` tells the operator what happens without the row."""
        self._name = name
        self._effect = effect
        self._known: set[str] = set()

    def read_rows(self, rows: Iterable[Any], decode: Callable[[Any], T]) -> Iterator[T]:
        """Yield `decode` of each row that it can read. The first column of a row names it."""
        for row in rows:
            try:
                yield decode(row)
            except _UNREADABLE as exc:
                self._set_aside(str(row[0]), exc)

    def _set_aside(self, row: str, exc: Exception) -> None:
        if row not in self._known:
            self._known.add(row)
            logger.error("%s: row %r cannot be read, %s: %s", self._name, row, self._effect, exc)
