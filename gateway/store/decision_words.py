"""The dictionary of decision records: the facts that many of them share are stored once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import msgspec

from gateway.store.database import Database

# Clients invent models, and each makes a word of its own: what comes later is written out in its record.
MOST_WORDS = 50_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS decision_words (
    number INTEGER PRIMARY KEY,
    body BLOB NOT NULL UNIQUE
);
"""

Word = TypeVar("Word", bound=msgspec.Struct)
Stored = int | list[Any]
"""A word in a record: its number, or the word itself."""


class DecisionWords(Generic[Word]):
    """Numbers of frozen structs of one kind, equal in all processes of a home; one thread writes."""

    def __init__(self, database: Database, kind: type[Word]) -> None:
        self._database = database
        self._kind = kind
        self._numbers: dict[Word, int] = {}
        self._new: dict[Word, int] = {}
        self._words: dict[int, Word] = {}
        database.create(_SCHEMA)

    @contextmanager
    def begin(self) -> Iterator[None]:
        """Forget the numbers that the block gave if it, and so its transaction, fails."""
        self._new = {}
        yield
        if len(self._numbers) + len(self._new) > MOST_WORDS:
            self._numbers.clear()
        self._numbers.update(self._new)

    def store(self, word: Word, connection: sqlite3.Connection) -> int | Word:
        """Return the number of `word`, inside a transaction; the word itself once there are too many."""
        number = self._numbers.get(word)
        if number is None:
            number = self._new.get(word)
        return self._find(word, connection) if number is None else number

    def load(self, stored: Stored) -> Word:
        """Return the word that `store` returned this for. Raises KeyError for any other number."""
        if not isinstance(stored, int):
            return msgspec.convert(stored, self._kind)
        word = self._words.get(stored)
        if word is None:
            rows = self._database.read("SELECT body FROM decision_words WHERE number = ?", (stored,))
            if not rows:
                raise KeyError(f"decision word {stored} is missing")
            if len(self._words) >= MOST_WORDS:
                self._words.clear()
            word = self._words[stored] = msgspec.msgpack.decode(rows[0][0], type=self._kind)
        return word

    def _find(self, word: Word, connection: sqlite3.Connection) -> int | Word:
        body = msgspec.msgpack.encode(word)
        find = "SELECT number FROM decision_words WHERE body = ?"
        found = connection.execute(find, (body,)).fetchone()
        if found is None:
            (newest,) = connection.execute("SELECT max(number) FROM decision_words").fetchone()
            if newest is not None and newest >= MOST_WORDS:
                return word
            connection.execute("INSERT INTO decision_words (body) VALUES (?)", (body,))
            found = connection.execute(find, (body,)).fetchone()
        number = self._new[word] = int(found[0])
        return number
