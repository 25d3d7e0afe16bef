"""The names of an outbox: with one of them a row's number is its name on every machine, for ever."""

from __future__ import annotations

import secrets
import socket
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from gateway.store.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS origins (first INTEGER NOT NULL, name TEXT NOT NULL, place TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS shipped (last INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS set_aside (id INTEGER PRIMARY KEY);
"""
"""`shipped`: up to where rows were deleted because a manifest names them. `set_aside`: rows that cannot be
read, which stay."""


class Origin(msgspec.Struct, frozen=True):
    """The name of the rows of one file from number `first` to `last`."""

    name: str
    first: int
    last: int


def stamp_origin(database: Database) -> None:
    """Give the file a name, and a new one from the next row on if it is a copy of another's.

    A restored or cloned home goes on with the numbers of the original, which goes on with them, too.
    """
    place = _place_of(database.path)
    newest = database.read("SELECT place FROM origins ORDER BY first DESC, rowid DESC LIMIT 1")
    if newest == [(place,)]:
        return
    with database.write() as connection:
        newest = connection.execute("SELECT place FROM origins ORDER BY rowid DESC LIMIT 1").fetchall()
        if newest == [(place,)]:
            return
        found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'rows'").fetchone()
        # Rows of a file without any name yet are named, too: an older stepdown wrote them.
        first = found[0] + 1 if found and newest else 1
        connection.execute("INSERT INTO origins VALUES (?, ?, ?)", (first, secrets.token_hex(8), place))


def read_origins(connection: sqlite3.Connection) -> list[Origin]:
    """Return the names of a file, oldest first; none if no outbox of this version has opened it."""
    if not _has_tables(connection):
        return []
    stamped = connection.execute("SELECT name, first FROM origins ORDER BY first, rowid").fetchall()
    if not stamped:
        # An outbox is just opening it for the first time.
        return []
    ends = [first - 1 for _, first in stamped[1:]] + [(1 << 63) - 1]
    return [
        Origin(name.decode() if isinstance(name, bytes) else name, first, last)
        for (name, first), last in zip(stamped, ends, strict=True)
    ]


def read_shipped(connection: sqlite3.Connection) -> int:
    """Return the number of the last row that was deleted because a manifest names it; 0 without one."""
    if not _has_tables(connection):
        return 0
    return int(connection.execute("SELECT coalesce(max(last), 0) FROM shipped").fetchone()[0])


def find_shipped(origins: Sequence[Origin], shipped: Mapping[str, int]) -> int:
    """Return the number up to which the rows of a file are in parts, of which `shipped` tells by name."""
    # Beyond its last number a name means the rows of the original, not those of this copy.
    return max((min(shipped.get(each.name, 0), each.last) for each in origins), default=0)


def _has_tables(connection: sqlite3.Connection) -> bool:
    query = "SELECT count(*) FROM sqlite_master WHERE name IN ('origins', 'shipped')"
    return bool(connection.execute(query).fetchone()[0] == 2)


def _place_of(path: Path) -> str:
    """Return what differs between a file and its copy, on this machine or another."""
    return f"{socket.gethostname()}:{path.stat().st_ino}"
