"""The home folder: every path has one name, the audit key is made once."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.store.home import AUDIT_KEY_BYTES, Home, read_audit_key


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_every_path_is_another_one_in_the_folder(home: Home) -> None:
    paths = [path for name, path in vars(home).items() if name not in {"folder", "host_socket"}]

    assert len(set(paths)) == len(paths)
    assert {path.parent for path in paths} == {home.folder}


def test_naming_a_path_makes_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")

    assert home.worker_rows(0).parent == home.harvest
    assert not home.folder.exists()


def test_the_audit_key_is_the_same_for_every_process(home: Home) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: read_audit_key(home), range(8)))

    assert len(set(keys)) == 1
    assert len(keys[0]) == AUDIT_KEY_BYTES
    assert [path.name for path in home.folder.iterdir()] == ["audit.key"]


def test_the_audit_key_is_for_its_owner_only(home: Home) -> None:
    read_audit_key(home)

    assert stat.S_IMODE(home.audit_key.stat().st_mode) == 0o600


def test_the_key_of_an_older_stepdown_is_kept_under_its_new_name(home: Home) -> None:
    """Another key would choose other audits of the same requests."""
    (home.folder / "coin.key").write_bytes(b"old")

    assert read_audit_key(home) == b"old"
    assert [path.name for path in home.folder.iterdir()] == ["audit.key"]
