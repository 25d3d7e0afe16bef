"""A disk that is full or cannot be written: what is stored can be read, and what waits is kept."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.store.database import REATTACH_S, Database
from gateway.store.home import Home
from gateway.store.keys import hash_key
from gateway.store.objects import ObjectStore
from gateway.store.state import open_state
from tests.support.small_disk import SmallDisk, small_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", megabytes=4) as disk:
        yield disk


def make_key(home: Home) -> str:
    with open_state(home) as state:
        return state.keys.create("app")[1]


def wait_for_next_try(database: Database) -> None:
    """Let the database believe that its last try is long ago."""
    assert database._detached_at is not None
    database._detached_at -= REATTACH_S


def test_keys_can_be_read_from_a_full_disk(disk: SmallDisk) -> None:
    """SQLite alone cannot open the file: it needs 32 KB beside it."""
    home = Home(disk.folder / "home")
    plain = make_key(home)
    disk.fill()
    with closing(sqlite3.connect(home.state_db)) as alone, pytest.raises(sqlite3.OperationalError):
        alone.execute("SELECT * FROM gateway_keys").fetchall()

    with open_state(home) as state:
        assert state.keys.find_by_hash(hash_key(plain.encode()))


def test_what_lies_in_the_log_is_read_as_well(disk: SmallDisk) -> None:
    """A killed process leaves a log behind: a revocation may stand in there alone."""
    home = Home(disk.folder / "home")
    plain = make_key(home)
    with open_state(home) as state:
        [key] = state.keys.all()
        state.keys.revoke(key.id)
        kept = home.state_db.read_bytes(), home.state_db.with_name("state.db-wal").read_bytes()
    home.state_db.write_bytes(kept[0])
    home.state_db.with_name("state.db-wal").write_bytes(kept[1])
    disk.fill()

    database = Database(home.state_db, may_detach=True)

    assert database.is_detached
    assert database.read("SELECT count(*) FROM gateway_keys WHERE revoked_at IS NOT NULL") == [(1,)]
    assert plain
    database.close()


def test_a_database_in_memory_is_opened_when_there_is_room_again(disk: SmallDisk) -> None:
    home = Home(disk.folder / "home")
    make_key(home)
    disk.fill()
    database = Database(home.state_db, may_detach=True)
    database.create("CREATE TABLE IF NOT EXISTS notes (n INTEGER)")
    before = database.data_version()
    with pytest.raises(sqlite3.OperationalError, match="full"), database.write():
        pass

    disk.empty()
    wait_for_next_try(database)
    with database.write() as connection:
        connection.execute("INSERT INTO notes VALUES (1)")

    assert not database.is_detached
    assert database.data_version() != before
    with closing(sqlite3.connect(home.state_db)) as alone:
        assert alone.execute("SELECT n FROM notes").fetchall() == [(1,)]
    database.close()


def test_owners_wait_for_room_and_are_known_meanwhile(disk: SmallDisk) -> None:
    database = Database(disk.folder / "state.db")
    owners = ObjectStore(database)
    disk.fill()
    made = [(f"file-{number}", "file") for number in range(2_000)]
    owners.add(made, "alice")
    with pytest.raises(sqlite3.OperationalError):
        owners.flush()
    assert owners.find_owners(["file-7"]) == {"file-7": "alice"}
    assert owners.waiting == 2_000

    disk.empty()
    owners.flush()

    assert (owners.waiting, len(owners.list_objects("alice"))) == (0, 2_000)
    database.close()


def test_owners_beyond_the_room_in_memory_are_counted(tmp_path: Path) -> None:
    owners = ObjectStore(Database(tmp_path / "state.db"), capacity=2)

    owners.add([("a", "file"), ("b", "file"), ("c", "file")], "alice")

    assert (owners.waiting, owners.dropped) == (2, 1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anything")
def test_a_database_that_cannot_be_written_can_be_read(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    make_key(home)
    home.state_db.chmod(0o400)
    home.folder.chmod(0o500)

    database = Database(home.state_db, may_detach=True)

    assert database.read("SELECT count(*) FROM gateway_keys") == [(1,)]
    database.close()
    home.folder.chmod(0o700)
