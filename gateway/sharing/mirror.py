"""Keeps the shared tables of this machine and those of the others the same.

In Valkey a row is a field of one hash, with a revision from Valkey's clock that only grows. A change is
sent with the revision that it was made upon. If that is still the row's, it holds; else two machines
changed it at once, and the table's `merge` says what holds. Rows that are gone keep a field: a store that
lost them, or is an old copy, so never deletes anything here.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from gateway.sharing.base import AwayError
from gateway.sharing.outgoing import Change, Outgoing, decode_key
from gateway.sharing.tables import TABLES, Row, SharedTable
from gateway.sharing.valkey import Valkey
from gateway.store.database import Database

logger = logging.getLogger(__name__)

BATCH_ROWS = 256
MOST_MERGES = 8
"""Times that one row may be overtaken by others before it is left for the next pass."""
FENCED = -1
UNREADABLE = (KeyError, TypeError, AttributeError, msgspec.MsgspecError, sqlite3.ProgrammingError)
"""What a row of another version of stepdown may raise where it is merged or written."""
_UNKNOWN = 0
"""The revision of a row that was never there."""
_PUT = """
if ARGV[1] ~= '' and redis.call('GET', KEYS[4]) ~= ARGV[1] then return {-1} end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local last = tonumber(redis.call('GET', KEYS[3]) or '0')
local said, changed = {}, false
for i = 3, #ARGV, 3 do
  local current = redis.call('HGET', KEYS[1], ARGV[i])
  local revision = current and string.match(current, '^%d+') or '0'
  if revision == ARGV[i + 1] then
    last = math.max(last + 1, now)
    changed = true
    redis.call('HSET', KEYS[1], ARGV[i], string.format('%.0f ', last) .. ARGV[i + 2])
    redis.call('ZADD', KEYS[2], last, ARGV[i])
    said[#said + 1] = last
  else
    said[#said + 1] = current or '0 '
  end
end
if changed then
  redis.call('SET', KEYS[3], string.format('%.0f', last))
  redis.call('PUBLISH', ARGV[2], '')
end
return said
"""
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode


class Known(NamedTuple):
    """A row as the shared state has it; `revision` 0: not at all."""

    revision: int
    row: Row | None


class SharedRows:
    """The rows in Valkey. Every method raises AwayError."""

    def __init__(self, valkey: Valkey) -> None:
        self._valkey = valkey
        key = valkey.key
        self._rows, self._changed, self._newest = key("rows"), key("changed"), key("newest")
        self.channel = key("news")

    def put(
        self, changes: Sequence[tuple[str, int, Row | None]], guard: tuple[str, str] = ("", "")
    ) -> list[int | Known]:
        """Store each (field, revision known, row) that is still of that revision; return the new revisions.

        In the place of one that is not, what is there. `guard`: a key and the value that it must have,
        else nothing is stored and the answer is [FENCED].
        """
        arguments: list[object] = [guard[1], self.channel]
        for field, revision, row in changes:
            arguments += [field, revision, _pack(row)]
        keys = [self._rows, self._changed, self._newest, guard[0] or self._newest]
        said = self._valkey.run(_PUT, keys, arguments)
        return [each if isinstance(each, int) else _read_value(each) for each in said]

    def fetch(self, fields: Sequence[str]) -> list[Known]:
        """Return the rows of `fields`."""
        if not fields:
            return []
        return [_read_value(each or b"0 ") for each in self._valkey.call("HMGET", self._rows, *fields)]

    def list_changed(self, since: int, limit: int) -> list[tuple[str, int]]:
        """Return the fields that changed after a revision, with theirs, oldest first."""
        said = self._valkey.call(
            "ZRANGEBYSCORE", self._changed, f"({since}", "+inf", "WITHSCORES", "LIMIT", 0, limit
        )
        return [
            (field.decode(), int(revision)) for field, revision in zip(said[::2], said[1::2], strict=True)
        ]


class Mirror:
    """Sends the changes of this machine's tables, and takes in those of the others. Methods may block."""

    def __init__(self, database: Database, outgoing: Outgoing, rows: SharedRows) -> None:
        self._database = database
        self._outgoing = outgoing
        self._rows = rows
        self._seen = _UNKNOWN

    def compare(self) -> bool:
        """Send anew what the shared state lacks, and take in anew what it has; after every new connection.

        Returns whether it had lost rows: it was emptied, or is an older copy.
        """
        self._seen = _UNKNOWN
        there: dict[str, int] = {}
        revision = _UNKNOWN
        while page := self._rows.list_changed(revision, BATCH_ROWS * 8):
            there |= dict(page)
            revision = page[-1][1]
        known = self._database.read("SELECT kind, key, revision FROM shared_rows")
        lost = [(kind, key) for kind, key, had in known if there.get(field_of(kind, key), _UNKNOWN) < had]
        with self._database.write() as connection:
            connection.executemany("DELETE FROM shared_rows WHERE kind = ? AND key = ?", lost)
            connection.executemany("INSERT INTO outgoing (kind, key) VALUES (?, ?)", lost)
            for table in TABLES.values():
                if "INSERT" in table.events:
                    connection.execute(_missing(table))
        return bool(lost)

    def push(self) -> int:
        """Send what was changed here; return how many changes. Raises AwayError and sqlite3.Error."""
        sent = 0
        while batch := self._outgoing.next_changes(BATCH_ROWS):
            self._send(batch)
            sent += len(batch)
        return sent

    def pull(self) -> int:
        """Take in what the others changed; return how many rows. Raises AwayError and sqlite3.Error."""
        taken = 0
        while page := self._rows.list_changed(self._seen, BATCH_ROWS):
            fields = [field for field, _ in page]
            taken += self._take_in(fields, self._rows.fetch(fields))
            self._seen = page[-1][1]
        return taken

    def _send(self, batch: Sequence[Change]) -> None:
        # The newest change of a row says all: what is sent is the row as it is now.
        wanted = {field_of(one.kind, one.key): one for one in batch}
        with self._database.write() as connection:
            waiting = {
                field: (
                    _revision(connection, one.kind, one.key),
                    TABLES[one.kind].read(connection, decode_key(one.key)),
                )
                for field, one in wanted.items()
            }
        confirmed: dict[str, Known] = {}
        merged: dict[str, Row | None] = {}
        for _ in range(MOST_MERGES):
            changes = [(field, base, row) for field, (base, row) in waiting.items()]
            overtaken = {}
            for (field, _base, mine), said in zip(changes, self._rows.put(changes), strict=True):
                if isinstance(said, int):
                    confirmed[field] = Known(said, mine)
                else:
                    merged[field] = _merge(wanted[field], mine, said) if said.revision else mine
                    overtaken[field] = (said.revision, merged[field])
            waiting = overtaken
            if not waiting:
                break
        with self._outgoing.apply() as connection:
            for field, known in confirmed.items():
                one = wanted[field]
                if field in merged:
                    if not self._is_newest(connection, one):
                        # Changed again meanwhile, without knowledge of theirs: to be merged again.
                        continue
                    write_row(connection, TABLES[one.kind], one.key, known.row)
                note_revision(connection, one.kind, one.key, known.revision)
            done = [one for one in batch if field_of(one.kind, one.key) in confirmed]
            self._outgoing.remove(connection, done)
        if waiting:
            raise AwayError(f"{len(waiting)} rows change faster than they can be sent")

    def _take_in(self, fields: Sequence[str], rows: Sequence[Known]) -> int:
        taken = 0
        with self._outgoing.apply() as connection:
            for field, known in zip(fields, rows, strict=True):
                kind, _, key = field.partition(" ")
                table = TABLES.get(kind)
                # A newer version shares tables that this one does not know.
                if table is None or not known.revision:
                    continue
                if self._is_waiting(connection, kind, key):
                    continue
                if _revision(connection, kind, key) >= known.revision:
                    continue
                write_row(connection, table, key, known.row)
                note_revision(connection, kind, key, known.revision)
                taken += 1
        return taken

    def _is_waiting(self, connection: sqlite3.Connection, kind: str, key: str) -> bool:
        """Whether it changed here too: then sending it merges the two."""
        query = "SELECT 1 FROM outgoing WHERE kind = ? AND key = ?"
        return connection.execute(query, (kind, key)).fetchone() is not None

    def _is_newest(self, connection: sqlite3.Connection, change: Change) -> bool:
        """Whether the row has not changed again since `change`; else it is sent again, and merged then."""
        query = "SELECT max(seq) FROM outgoing WHERE kind = ? AND key = ?"
        return bool(connection.execute(query, (change.kind, change.key)).fetchone()[0] == change.seq)


def write_row(connection: sqlite3.Connection, table: SharedTable, key: str, row: Row | None) -> None:
    """Let the row of `key` be `row`; one that cannot be is left as it is, and said."""
    try:
        table.write(connection, decode_key(key), row)
    except (sqlite3.IntegrityError, *UNREADABLE) as exc:
        # Two machines gave one name to two tasks: each keeps its own until one is renamed. Or another
        # version of stepdown wrote it, with other columns: what this machine has stays.
        logger.warning("%s %s of another machine is not taken: %s", table.name, key, exc)


def note_revision(connection: sqlite3.Connection, kind: str, key: str, revision: int) -> None:
    """Remember of which revision this machine's row is."""
    connection.execute("INSERT OR REPLACE INTO shared_rows VALUES (?, ?, ?)", (kind, key, revision))


def _revision(connection: sqlite3.Connection, kind: str, key: str) -> int:
    query = "SELECT revision FROM shared_rows WHERE kind = ? AND key = ?"
    found = connection.execute(query, (kind, key)).fetchone()
    return int(found[0]) if found else _UNKNOWN


def _missing(table: SharedTable) -> str:
    """Return the statement that sends the rows of `table` that were never sent."""
    key = f"json_array({', '.join(table.key)})"
    return (
        f"INSERT INTO outgoing (kind, key) SELECT '{table.name}', {key} FROM {table.name} WHERE NOT EXISTS "  # noqa: S608
        f"(SELECT 1 FROM shared_rows WHERE kind = '{table.name}' AND key = {key}) AND NOT EXISTS "
        f"(SELECT 1 FROM outgoing WHERE kind = '{table.name}' AND key = {key})"
    )


def field_of(kind: str, key: str) -> str:
    """Return the field of a row."""
    return f"{kind} {key}"


def _merge(change: Change, mine: Row | None, theirs: Known) -> Row | None:
    try:
        return TABLES[change.kind].merge(mine, theirs.row)
    except UNREADABLE as exc:
        logger.warning("%s %s of another machine cannot be read: %s", change.kind, change.key, exc)
        return mine


def _read_value(value: bytes) -> Known:
    revision, _, packed = value.partition(b" ")
    try:
        row: Any = _unpack(packed) if packed else None
    except msgspec.MsgspecError:
        # Damaged, or no row at all: no table can take it, and what this machine has stays.
        row = {}
    return Known(int(revision), row)
