"""One SQLite file, shared by the processes of one machine.

Every store owns a table in it. Only background threads use it: SQLite may wait for the disk or
for another process, so no request may wait for these methods.
"""

from __future__ import annotations

import errno
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from gateway.errors import ConfigError

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 3
NEW_FILE = 0
"""SQLite's version of a file without content."""
BUSY_TIMEOUT_S = 5.0
# For each statement the thread lets go of the interpreter and must win it back from the event loop: row by
# row, that cost 20 us of a request. SQLite took at most 999 parameters until 3.32.
MOST_PARAMETERS = 999
REATTACH_S = 1.0
"""Between two attempts to open a file that the disk had no room for."""
LONGEST_CHECK_S = 3.0
UNREADABLE_FILE = (sqlite3.Error, UnicodeDecodeError)
"""What reading a damaged file raises: SQLite quotes what it finds there, and that need not be text."""
LOG_RETRY_S = 0.05
_DISK_FAULTS = {
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
}  # fmt: skip


class Database:
    """A connection that threads take turns on.

    `synchronous="NORMAL"` may lose the last transactions in a power cut, never in a crash of the
    process; "FULL" loses none. With `may_detach`, a file that cannot be opened because the disk is full
    or cannot be written (SQLite needs some KB beside it) is copied into memory: it can be read, and is
    opened as soon as that is possible. Raises ConfigError for a file that is no database of ours, or
    that a newer or older stepdown wrote, or that cannot be opened.
    """

    def __init__(
        self, path: Path, *, synchronous: Literal["NORMAL", "FULL"] = "NORMAL", may_detach: bool = False
    ) -> None:
        self.path = path
        self._synchronous = synchronous
        self._lock = threading.RLock()
        self._writes = 0
        self._schemas: list[str] = []
        self._detached_at: float | None = None
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._connection = _open_connection(path, synchronous)
        except (*UNREADABLE_FILE, OSError) as exc:
            if not (may_detach and path.exists() and _is_of_the_disk(exc)):
                raise ConfigError(describe_fault(path, exc)) from exc
            logger.error("%s cannot be opened (%s): a copy in memory is read until it can", path, exc)
            self._connection = _copy_into_memory(path)
            self._detached_at = time.monotonic()

    @property
    def is_detached(self) -> bool:
        """Whether a copy in memory stands for the file, which cannot be written."""
        return self._detached_at is not None

    def create(self, schema: str) -> None:
        """Make the tables and indexes of `schema` (`CREATE ... IF NOT EXISTS` statements)."""
        with self._lock:
            self._connection.executescript(schema)
            self._schemas.append(schema)

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
        writes. Inside a transaction of the same thread it joins that one. Raises
        sqlite3.OperationalError when the disk is full, or another process holds the lock for longer
        than `BUSY_TIMEOUT_S`.
        """
        with self._lock:
            is_inside = self._connection.in_transaction
            if is_inside:
                yield self._connection
                self._writes += 1
                return
            self._reattach()
            if self.is_detached:
                raise sqlite3.OperationalError("database or disk is full, or cannot be written")
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
            self._reattach()
            # SQLite's own number counts only the changes of other connections.
            (others,) = self._connection.execute("PRAGMA data_version").fetchone()
            return others, self._writes

    def wipe_deletions(self) -> None:
        """Overwrite from now on what is deleted: SQLite leaves it in the file until its page is needed."""
        self.read("PRAGMA secure_delete = ON")

    def empty_log(self, limit_s: float) -> bool:
        """Empty the log, which holds what was deleted; False if a reader kept it busy for `limit_s`."""
        give_up_at = time.monotonic() + limit_s
        while self.read("PRAGMA wal_checkpoint(TRUNCATE)")[0][0]:
            if time.monotonic() > give_up_at:
                return False
            time.sleep(LOG_RETRY_S)
        return True

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _reattach(self) -> None:
        """Open the file if a copy stood for it and it can be opened now."""
        now = time.monotonic()
        if self._detached_at is None or now - self._detached_at < REATTACH_S:
            return
        self._detached_at = now
        try:
            connection = _open_connection(self.path, self._synchronous)
            for schema in self._schemas:
                connection.executescript(schema)
        except (sqlite3.Error, OSError):
            return
        self._connection.close()
        self._connection, self._detached_at = connection, None
        self._writes += 1
        logger.warning("%s is open again", self.path)


def insert_rows(
    connection: sqlite3.Connection, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> None:
    """Add `rows`, each with a value per column, to `table` inside the transaction that is open."""
    at_once = MOST_PARAMETERS // len(columns)
    row = f"({', '.join('?' * len(columns))})"
    insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES "  # noqa: S608 - names from our own code
    for start in range(0, len(rows), at_once):
        some = rows[start : start + at_once]
        connection.execute(insert + ", ".join([row] * len(some)), tuple(chain.from_iterable(some)))


def check_database(path: Path) -> None:
    """Raise ConfigError, in one line, if the file is there and is not whole, or not one that we can use."""
    if not path.exists() or not path.stat().st_size:
        return
    database = Database(path, may_detach=True)
    give_up_at = time.monotonic() + LONGEST_CHECK_S
    connection = database._connection
    connection.set_progress_handler(lambda: int(time.monotonic() > give_up_at), 10_000)
    try:
        [(verdict,), *_] = connection.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.OperationalError:
        # A check that takes too long has found nothing so far.
        return
    except UNREADABLE_FILE as exc:
        raise ConfigError(describe_fault(path, exc)) from exc
    finally:
        database.close()
    if verdict != "ok":
        raise ConfigError(describe_fault(path, sqlite3.DatabaseError(verdict.splitlines()[0])))


def _open_connection(path: Path, synchronous: str) -> sqlite3.Connection:
    if not path.exists():
        # Prompts and key hashes are private. SQLite gives -wal and -shm the same mode.
        path.touch(mode=0o600)
    return _connect(path, synchronous)


def _is_of_the_disk(exc: Exception) -> bool:
    """Whether the disk is to blame, not the file."""
    if isinstance(exc, OSError):
        return exc.errno in (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG)
    # The lower byte of an extended code is the plain one.
    return (getattr(exc, "sqlite_errorcode", 0) & 0xFF) in _DISK_FAULTS


def _copy_into_memory(path: Path) -> sqlite3.Connection:
    """Return a copy of the file with what its log holds. Raises ConfigError.

    In exclusive mode SQLite keeps the index of the log in memory and needs no room on the disk. On a disk
    that cannot be written not even that is possible; without a log the file alone tells everything.
    """
    log = path.with_name(f"{path.name}-wal")
    has_log = log.exists() and log.stat().st_size > 0
    uri = path.absolute().as_uri()
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    fault: sqlite3.Error | None = None
    for mode in ("mode=rw", "mode=ro", *(() if has_log else ("immutable=1",))):
        try:
            with closing(sqlite3.connect(f"{uri}?{mode}", uri=True, timeout=BUSY_TIMEOUT_S)) as source:
                source.execute("PRAGMA locking_mode=EXCLUSIVE")
                # A lock of another's fails here: `backup` would wait for it without end.
                source.execute("SELECT count(*) FROM sqlite_master").fetchone()
                source.backup(copy)
            return copy
        except sqlite3.Error as exc:
            fault = exc
    copy.close()
    raise ConfigError(describe_fault(path, fault or sqlite3.OperationalError("no way to read it")))


def describe_fault(path: Path, exc: Exception) -> str:
    """Return the one line that names the file, what is wrong with it, and what to do."""
    text = str(exc)
    if isinstance(exc, sqlite3.OperationalError) and "locked" in text:
        return f"{path}: locked by another program for {BUSY_TIMEOUT_S:.0f} s: close that program"
    if isinstance(exc, OSError) or _is_of_the_disk(exc):
        return f"{path}: cannot be opened ({text}): make room on the disk, or let this user write to it"
    return f"{path}: damaged ({text}): put a backup in its place, or move it away with its -wal and -shm"


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
