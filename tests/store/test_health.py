"""Files that are damaged, empty, lost or of another version are named in one line before anything starts."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.store.database import Database
from gateway.store.health import check_home, find_faults
from gateway.store.home import Home, read_audit_key
from gateway.store.state import open_state


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with a key, an audit key and a harvest."""
    home = Home(tmp_path / "home")
    with open_state(home) as state:
        state.keys.create("app")
    read_audit_key(home)
    rows = Database(home.worker_rows(0))
    rows.create("CREATE TABLE rows (n INTEGER); CREATE INDEX by_n ON rows (n)")
    with rows.write() as connection:
        connection.executemany("INSERT INTO rows VALUES (?)", [(n,) for n in range(2_000)])
    rows.close()
    return home


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES: dict[str, tuple[Callable[[Home], object], str]] = {
    "header": (lambda home: overwrite(home.state_db, 0, b"x" * 64), r"state\.db: damaged .*backup"),
    "middle": (lambda home: overwrite(home.state_db, 4096, b"x" * 4096), r"state\.db: damaged .*backup"),
    "cut": (lambda home: cut(home.state_db), r"state\.db: damaged .*backup"),
    "empty": (lambda home: home.state_db.write_bytes(b""), r"state\.db: gone or empty, though it held keys"),
    "gone": (lambda home: home.state_db.unlink(), r"state\.db: gone or empty, though it held keys"),
    "audit key": (lambda home: home.audit_key.write_bytes(b""), r"audit\.key: 0 bytes instead of 32"),
    "harvest": (lambda home: overwrite(home.worker_rows(0), 8192, b"x" * 4096), r"worker-0\.db: damaged"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damage_is_named_in_one_line(home: Home, damage: str) -> None:
    inflict, line = DAMAGES[damage]
    inflict(home)

    with pytest.raises(ConfigError, match=line) as exc:
        check_home(home)

    assert "\n" not in str(exc.value)
    assert str(exc.value) in list(find_faults(home))


def test_a_newer_database_is_named(home: Home) -> None:
    connection = sqlite3.connect(home.state_db)
    connection.execute("PRAGMA user_version = 99")
    connection.close()

    with pytest.raises(ConfigError, match=r"state\.db: layout 99 was written by a newer stepdown"):
        check_home(home)


def test_a_locked_database_is_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.store.database.BUSY_TIMEOUT_S", 0.1)
    connection = sqlite3.connect(home.state_db, isolation_level=None)
    connection.execute("PRAGMA locking_mode=EXCLUSIVE")
    connection.execute("BEGIN EXCLUSIVE")

    with pytest.raises(ConfigError, match=r"state\.db: locked by another program"):
        check_home(home)

    connection.close()


def test_a_whole_home_has_no_fault(home: Home) -> None:
    assert list(find_faults(home)) == []


def test_a_new_home_has_no_fault_and_is_not_made(tmp_path: Path) -> None:
    assert list(find_faults(Home(tmp_path / "new"))) == []
    assert not (tmp_path / "new").exists()


def test_a_command_does_not_make_a_lost_database_anew(home: Home) -> None:
    """`keys list` of an empty one would say that there are none."""
    home.state_db.unlink()

    with pytest.raises(ConfigError, match="though it held keys"), open_state(home):
        pass

    assert not home.state_db.exists()


def test_a_database_without_keys_may_be_deleted(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with open_state(home):
        pass
    home.state_db.unlink()

    check_home(home)
