"""What is wrong with records that cannot be imported: equal mistakes are said once."""

from __future__ import annotations

import msgspec

from gateway.harvest.sources import Record

MOST_KINDS = 20
"""Of mistakes that are kept; every record is counted."""
MOST_PLACES = 5


class Mistake(msgspec.Struct, frozen=True, kw_only=True):
    """One mistake in one file."""

    file: str
    number: int
    """Of the first record that has it."""
    error: str
    count: int
    numbers: tuple[int, ...]
    """Of the first such records; `number` is among them."""


class MistakeTally:
    """The different mistakes of a number of records, in the order of the first of each."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Mistake] = {}

    def add(self, record: Record, error: str) -> None:
        """Count that `record` could not be imported because of `error`."""
        key, number = (record.file, error), record.number
        known = self._found.get(key)
        if known is not None:
            numbers = (*known.numbers, number)[:MOST_PLACES]
            self._found[key] = msgspec.structs.replace(known, count=known.count + 1, numbers=numbers)
        elif len(self._found) < MOST_KINDS:
            self._found[key] = Mistake(
                file=record.file, number=number, error=error, count=1, numbers=(number,)
            )

    def list_mistakes(self) -> list[Mistake]:
        """Return the first `MOST_KINDS` of them."""
        return [*self._found.values()]
