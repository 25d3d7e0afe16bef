"""Backups: whole or refused, and a home is replaced by one only as a whole."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec
import pytest

from gateway.errors import ConfigError
from gateway.store import backup
from gateway.store.backup import Manifest, back_up, check_backup, read_manifest, restore
from gateway.store.home import Home, read_audit_key
from gateway.store.state import open_state


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.make_for_gateway()
    with open_state(home) as state:
        state.keys.create("app")
        state.interventions.freeze("task-1", "why")
    version = home.registry / "task-1/1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(b"weights")
    (home.learn / "task-1").mkdir(parents=True)
    (home.learn / "task-1/cache").touch()
    return home


@pytest.fixture
def copy(home: Home, tmp_path: Path) -> Path:
    back_up(home, tmp_path / "copy")
    return tmp_path / "copy"


def test_a_backup_holds_all_state_for_its_owner_alone(home: Home, copy: Path) -> None:
    paths = {file.path for file in read_manifest(copy).files}

    assert paths == {"state.db", "audit.key", "keys.made", "registry/task-1/1/model.onnx"}
    modes = {stat.S_IMODE(path.stat().st_mode) for path in copy.rglob("*") if path.is_file()}
    assert modes <= {0o600, 0o644}, modes
    assert stat.S_IMODE(copy.stat().st_mode) & 0o077 == 0


def test_it_is_copied_while_somebody_writes(home: Home, tmp_path: Path) -> None:
    with open_state(home) as state, state.database.write() as connection:
        connection.execute("INSERT INTO freezes VALUES ('task-2', 0, '')")
        back_up(home, tmp_path / "copy")

    fresh = Home(tmp_path / "fresh")
    restore(fresh, tmp_path / "copy", may_replace=False)
    with open_state(fresh) as state:
        assert [freeze.task for freeze in state.interventions.list_freezes()] == ["task-1"]


def test_what_is_restored_is_what_was_copied(home: Home, copy: Path, tmp_path: Path) -> None:
    fresh = Home(tmp_path / "fresh")

    manifest, replaced = restore(fresh, copy, may_replace=False)

    assert (replaced, manifest.home) == (None, str(home.folder))
    assert read_audit_key(fresh) == read_audit_key(home)
    with open_state(fresh) as state:
        assert [key.name for key in state.keys.all()] == ["app"]
        assert state.interventions.is_frozen("task-1")
    assert (fresh.registry / "task-1/1/model.onnx").read_bytes() == b"weights"


def test_a_home_is_replaced_only_on_demand_and_kept_aside(home: Home, copy: Path) -> None:
    with open_state(home) as state:
        state.keys.create("later")
    with pytest.raises(ConfigError, match="--replace"):
        restore(home, copy, may_replace=False)

    _, replaced = restore(home, copy, may_replace=True)

    assert replaced is not None
    assert (replaced / "state.db").exists()
    with open_state(home) as state:
        assert [key.name for key in state.keys.all()] == ["app"]
    back_up(home, copy.with_name("second"))
    assert not any("replaced-" in file.path for file in read_manifest(copy.with_name("second")).files)


@pytest.mark.parametrize("damage", ["changed", "cut", "gone", "no manifest"])
def test_a_damaged_backup_changes_nothing(home: Home, copy: Path, damage: str) -> None:
    weights = copy / "registry/task-1/1/model.onnx"
    if damage == "gone":
        weights.unlink()
    elif damage == "no manifest":
        (copy / backup.MANIFEST).unlink()
    else:
        weights.write_bytes(b"weighty" if damage == "changed" else b"w")
    before = sorted(home.folder.rglob("*"))

    with pytest.raises(ConfigError):
        restore(home, copy, may_replace=True)

    assert sorted(home.folder.rglob("*")) == before


def test_a_backup_names_no_file_outside_of_itself(copy: Path) -> None:
    manifest = read_manifest(copy)
    outside = msgspec.structs.replace(manifest.files[0], path="../home/audit.key")
    changed = msgspec.structs.replace(manifest, files=[outside])

    with pytest.raises(ConfigError, match="leads out"):
        check_backup(copy, changed)


def test_a_backup_of_a_newer_stepdown_is_refused(copy: Path) -> None:
    newer = msgspec.structs.replace(read_manifest(copy), format=backup.FORMAT + 1)
    (copy / backup.MANIFEST).write_bytes(msgspec.json.encode(newer))

    with pytest.raises(ConfigError, match="newer"):
        read_manifest(copy)


@pytest.mark.parametrize("name", ["home/inside", "full"])
def test_a_target_is_outside_of_the_home_and_empty(home: Home, tmp_path: Path, name: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()

    with pytest.raises(ConfigError):
        back_up(home, tmp_path / name)


def test_a_manifest_adds_up() -> None:
    files = [backup.BackedUpFile("a", 3, ""), backup.BackedUpFile("b", 4, "")]

    assert Manifest(at=0.0, home="", files=files).size_bytes == 7
