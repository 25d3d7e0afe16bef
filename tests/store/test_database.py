"""One file, many threads and processes: nothing lost, nothing half written."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from gateway.errors import ConfigError
from gateway.store.database import Database
from tests.support.waiting import PATIENCE_S

COUNTER = "CREATE TABLE IF NOT EXISTS counter (n INTEGER NOT NULL)"

ADD_ONE = """
import sys
from pathlib import Path
from gateway.store.database import Database
database = Database(Path(sys.argv[1]))
database.create("CREATE TABLE IF NOT EXISTS counter (n INTEGER NOT NULL)")
for _ in range(25):
    with database.write() as connection:
        (count,) = connection.execute("SELECT count(*) FROM counter").fetchone()
        connection.execute("INSERT INTO counter VALUES (?)", (count,))
"""

WRITE_UNTIL_KILLED = """
import sys
from pathlib import Path
from gateway.store.database import Database
database = Database(Path(sys.argv[1]))
database.create("CREATE TABLE IF NOT EXISTS counter (n INTEGER NOT NULL)")
for n in range(1_000_000):
    with database.write() as connection:
        connection.execute("INSERT INTO counter VALUES (?)", (n,))
    print(n, flush=True)
"""


def test_processes_that_start_together_all_get_a_turn(path: Path) -> None:
    """Four processes create the file at once; no transaction is lost or interleaved."""
    writers = [subprocess.Popen([sys.executable, "-c", ADD_ONE, str(path)]) for _ in range(4)]

    assert [writer.wait(PATIENCE_S) for writer in writers] == [0, 0, 0, 0]

    database = Database(path)
    assert [n for (n,) in database.read("SELECT n FROM counter ORDER BY n")] == list(range(100))
    database.close()


def test_a_killed_writer_loses_no_committed_transaction(path: Path) -> None:
    """After kill -9 every committed write is there."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITE_UNTIL_KILLED, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        committed = [int(writer.stdout.readline()) for _ in range(50)]
        writer.send_signal(signal.SIGKILL)

    database = Database(path)
    survivors = {n for (n,) in database.read("SELECT n FROM counter")}
    assert set(committed) <= survivors
    database.close()


def test_a_failed_transaction_leaves_nothing_behind(database: Database) -> None:
    """An exception inside `write` undoes all of it."""
    database.create(COUNTER)

    def fail_half_way() -> None:
        with database.write() as connection:
            connection.execute("INSERT INTO counter VALUES (1)")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()

    assert database.read("SELECT n FROM counter") == []


def test_threads_take_turns(database: Database) -> None:
    """Transactions of several threads on one connection do not mix."""
    database.create(COUNTER)

    def add() -> None:
        for _ in range(50):
            with database.write() as connection:
                connection.execute("INSERT INTO counter VALUES ((SELECT count(*) FROM counter))")

    threads = [Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert database.read("SELECT count(DISTINCT n) FROM counter") == [(200,)]


@pytest.mark.parametrize("writer", ["own", "another's"])
def test_the_data_version_differs_after_every_change(
    database: Database, other_process: Database, writer: str
) -> None:
    """Own writes count as well as those of other processes."""
    database.create(COUNTER)
    before = database.data_version()

    with (database if writer == "own" else other_process).write() as connection:
        connection.execute("INSERT INTO counter VALUES (1)")

    assert database.data_version() != before


def test_the_data_version_stays_while_nothing_changes(database: Database) -> None:
    """Reading changes nothing."""
    database.create(COUNTER)
    before = database.data_version()

    database.read("SELECT * FROM counter")

    assert database.data_version() == before


def test_the_files_are_private(path: Path, database: Database) -> None:
    """The file, its log and its index are readable by their owner only."""
    database.create(COUNTER)

    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}

    assert modes == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}


def test_a_newer_layout_is_refused(path: Path, database: Database) -> None:
    """The message names the file and says what to do."""
    database.create("PRAGMA user_version = 99")

    with pytest.raises(ConfigError, match=r"state\.db: layout 99 .* newer stepdown"):
        Database(path)


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    """Garbage is reported in one line and stays."""
    garbage = tmp_path / "state.db"
    garbage.write_bytes(b"no database" * 100)

    with pytest.raises(ConfigError, match=r"^\S+state\.db: damaged .*backup"):
        Database(garbage)

    assert garbage.read_bytes().startswith(b"no database")


def test_an_older_layout_is_refused_in_one_line(path: Path, database: Database) -> None:
    """Its columns have other names: reading it would fail in the middle of a request."""
    database.create("PRAGMA user_version = 1")
    database.close()

    with pytest.raises(ConfigError, match=r"state\.db: layout 1 .* older stepdown.*STEPDOWN_HOME"):
        Database(path)
