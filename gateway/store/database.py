"""One SQLite file, shared by the processes of one machine.

Every store owns a table in it. Only background threads use it: SQLite may wait for the disk or
for another process, so no request may wait for these methods.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from gateway.errors import ConfigError

SCHEMA_VERSION = 3
NEW_FILE = 0
"""SQLite's version of a file without content."""
BUSY_TIMEOUT_S = 5.0


class Database:
    """A connection that threads take turns on.

    `synchronous="NORMAL"` may lose the last transactions in a power cut, never in a crash of the
    process; "FULL" loses none. Raises ConfigError for a file that a newer or older stepdown wrote.
    """

    def __init__(self, path: Path, *, synchronous: Literal["NORMAL", "FULL"] = "NORMAL") -> None:
        self.path = path
        self._lock = threading.Lock()
        self._writes = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        # Prompts and key hashes are private. SQLite gives -wal and -shm the same mode.
        path.touch(mode=0o600)
        self._connection = _connect(path, synchronous)

    def create(self, schema: str) -> None:
        """Make the tables and indexes of `schema` (`CREATE ... IF NOT EXISTS` statements)."""
        with self._lock:
            self._connection.executescript(schema)

    def read(self, sql: str, parameters: Sequence[object] = ()) -> list[Any]:
        """Return the rows of a query, as tuples."""
        with self._lock:
            return self._connection.execute(sql, parameters).fetchall()

    def has_table(self, name: str) -> bool:
        """Return whether the file has a table of that name."""
        return bool(self.read("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)))

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Give the connection inside one transaction; any exception undoes all of it.

        The transaction begins with the write lock, so what it reads cannot change before it
        writes. Raises sqlite3.OperationalError when the disk is full, or another process holds
        the lock for longer than `BUSY_TIMEOUT_S`.
        """
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # With a full disk SQLite may have undone the transaction already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            self._writes += 1

    def data_version(self) -> tuple[int, int]:
        """Return a value that differs after any change, by this process or another.

        Costs some microseconds: compare it before reading a table again.
        """
        with self._lock:
            # SQLite's own number counts only the changes of other connections.
            (others,) = self._connection.execute("PRAGMA data_version").fetchone()
            return others, self._writes

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


def _connect(path: Path, synchronous: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        _enter_wal_mode(connection)
        connection.execute(f"PRAGMA synchronous={synchronous}")
        _check_version(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _enter_wal_mode(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging: readers and one writer then work side by side."""
    give_up_at = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as exc:
            # The first switch of a new file needs the file alone, and SQLite does not wait for
            # that: processes that start together collide here.
            if "locked" not in str(exc) or time.monotonic() > give_up_at:
                raise
            time.sleep(0.005)


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise ConfigError(
            f"{path}: layout {version} was written by a newer stepdown; this one knows {SCHEMA_VERSION}: "
            "upgrade stepdown or use another STEPDOWN_HOME"
        )
    if version not in (NEW_FILE, SCHEMA_VERSION):
        raise ConfigError(
            f"{path}: layout {version} was written by an older stepdown; this one reads only "
            f"{SCHEMA_VERSION}: move the file away or use another STEPDOWN_HOME"
        )
    if version == NEW_FILE:
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
