"""The audits of all machines, in one log: each is counted once on every machine."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence, Set
from typing import Any

import msgspec

from gateway.sharing.outgoing import AUDITS, Change, Outgoing, decode_key
from gateway.sharing.valkey import Valkey
from gateway.store.audits import COLUMNS
from gateway.store.database import Database
from gateway.store.forgets import find_forgotten

logger = logging.getLogger(__name__)

BATCH_AUDITS = 256
MOST_KEPT = 50_000
"""Audits in the log, about 14 MB: what a machine that was away for longer misses."""
LATE_S = 86_400.0
"""Audits that are sent again when the log was lost: a machine may not have read them yet."""
_READ_TO = "audits read to"
_SENT_DAYS = 90
# A call whose answer was lost is repeated: what was taken the first time is not taken again.
_SEND = """
local last = tonumber(redis.call('GET', KEYS[2]) or '0')
for i = 3, #ARGV, 2 do
  if tonumber(ARGV[i]) > last then
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'audit', ARGV[i + 1])
    last = tonumber(ARGV[i])
  end
end
redis.call('SET', KEYS[2], string.format('%.0f', last), 'EX', ARGV[2])
redis.call('PUBLISH', KEYS[3], '')
"""
_NAMES = ", ".join(COLUMNS)
_READ = f"SELECT {_NAMES} FROM audits WHERE seq = ?"  # noqa: S608 - names from our own code
_ADD = (
    f"INSERT INTO audits ({_NAMES}) SELECT {', '.join('?' * len(COLUMNS))} "  # noqa: S608
    "WHERE NOT EXISTS (SELECT 1 FROM audits WHERE request_id = ?)"
)
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode


class SharedAudits:
    """Sends this machine's audits and takes in the others'; raises AwayError and sqlite3.Error."""

    def __init__(self, database: Database, outgoing: Outgoing, valkey: Valkey, machine: str) -> None:
        self._database = database
        self._outgoing = outgoing
        self._valkey = valkey
        self._log = valkey.key("audits")
        self._keys = [self._log, valkey.key("sent", machine), valkey.key("news")]

    def push(self) -> int:
        """Send the audits that wait; return how many."""
        sent = 0
        while batch := self._outgoing.next_changes(BATCH_AUDITS, AUDITS):
            arguments: list[object] = [MOST_KEPT, _SENT_DAYS * 86_400]
            for change, row in self._read(batch):
                arguments += [change.seq, _pack(row)]
            self._valkey.run(_SEND, self._keys, arguments)
            with self._database.write() as connection:
                self._outgoing.remove(connection, batch)
            sent += len(batch)
        return sent

    def pull(self) -> int:
        """Take in what came since the last time; return how many audits were new here."""
        taken = 0
        while entries := self._read_log():
            rows = [row for _, fields in entries if (row := _read_entry(fields))]
            # A machine that had not heard of it may have sent one late.
            forgotten = find_forgotten(self._database, [row["request_id"] for row in rows])
            with self._outgoing.apply() as connection:
                for row in rows:
                    if row["request_id"] not in forgotten:
                        taken += _take_in(connection, row)
                self._outgoing.set_mark(_READ_TO, entries[-1][0].decode(), connection)
        return taken

    def send_again(self, now: float) -> None:
        """Let the audits of the last day be sent once more, after the log was lost."""
        with self._database.write() as connection:
            connection.execute(
                f"INSERT INTO outgoing (kind, key) SELECT '{AUDITS}', json_array(seq) FROM audits "  # noqa: S608
                "WHERE at >= ? ORDER BY seq",
                (now - LATE_S,),
            )

    def _read(self, batch: Sequence[Change]) -> list[tuple[Change, dict[str, Any]]]:
        found = []
        for change in batch:
            rows = self._database.read(_READ, decode_key(change.key))
            # It may have been forgotten meanwhile.
            found += [(change, dict(zip(COLUMNS, row, strict=True))) for row in rows]
        return found

    def _read_log(self) -> list[tuple[bytes, dict[bytes, bytes]]]:
        since = self._outgoing.read_mark(_READ_TO)
        start = f"({since}" if since else "-"
        return list(self._valkey.call("XRANGE", self._log, start, "+", "COUNT", BATCH_AUDITS))


def delete_audits(valkey: Valkey, request_ids: Set[str]) -> int:
    """Delete the audits of these requests from the log of all machines; return how many. Raises AwayError."""
    log, start, deleted = valkey.key("audits"), "-", 0
    while entries := valkey.call("XRANGE", log, start, "+", "COUNT", BATCH_AUDITS):
        found = [number for number, fields in entries if _read_entry(fields).get("request_id") in request_ids]
        if found:
            deleted += valkey.call("XDEL", log, *found)
        start = f"({entries[-1][0].decode()}"
    return deleted


def _take_in(connection: sqlite3.Connection, row: dict[str, Any]) -> int:
    # A newer version may know more of an audit; what every version knows comes first.
    values = tuple(row.get(name) for name in COLUMNS)
    try:
        return connection.execute(_ADD, (*values, row["request_id"])).rowcount
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError) as exc:
        # Of a version that this one cannot follow. To stop here would keep it from all that come after.
        logger.warning("an audit of another machine cannot be read and does not count here: %s", exc)
        return 0


def _read_entry(fields: dict[bytes, bytes]) -> dict[str, Any]:
    """Return an audit of the log; empty for one that cannot be read, as of another program's."""
    try:
        row = _unpack(fields[b"audit"])
    except (KeyError, msgspec.MsgspecError):
        row = None
    return row if isinstance(row, dict) and isinstance(row.get("request_id"), str) else {}
