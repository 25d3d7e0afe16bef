"""Copies of a home folder: taken while a gateway serves from it, and put back where none does."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from gateway import __version__
from gateway.errors import ConfigError, StepdownError
from gateway.store.atomic_file import replace_file
from gateway.store.database import BUSY_TIMEOUT_S, SCHEMA_VERSION, describe_fault
from gateway.store.home import Home

MANIFEST = "backup.json"
FORMAT = 1
LEFT_OUT = frozenset(
    {
        "learn",
        "counters",
        "sockets",
        "run.json",
        "lock",
        "learner.lock",
        "learner.json",
        "machine",
        "shared.json",
    }
)
"""Of a run or of this machine, or made again by the next: what recipes keep of a task, sums of this minute,
sockets, locks."""
REPLACED = "replaced-"
"""The beginning of the folder's name that `restore` moves what was there to."""
_STAGE = "restoring"
_SPARE_BYTES = 64 << 20
_BESIDE_DATABASE = ("-wal", "-shm", "-journal")


class BackedUpFile(msgspec.Struct, frozen=True):
    """One file, by its path in the home."""

    path: str
    size_bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds; written last, so a backup without it is not whole."""

    format: int = FORMAT
    stepdown: str = __version__
    layout: int = SCHEMA_VERSION
    at: float
    """When it was begun, in unix seconds: every change from before is in it."""
    home: str
    files: list[BackedUpFile]

    @property
    def size_bytes(self) -> int:
        """The size of all files."""
        return sum(file.size_bytes for file in self.files)


def back_up(home: Home, target: Path) -> Manifest:
    """Copy the state of `home` to the new or empty folder `target`; return what it holds.

    A gateway may serve meanwhile, and waits for nothing: each database is copied as one snapshot by
    SQLite. Raises ConfigError for a target that cannot take it, StepdownError for a file that cannot be
    read; then `target` has no manifest.
    """
    at = time.time()
    _prepare_target(target, home)
    files = [_copy_file(home.folder / path, target / path, path) for path in _list_files(home)]
    manifest = Manifest(at=at, home=str(home.folder), files=[file for file in files if file is not None])
    with replace_file(target / MANIFEST) as scratch:
        scratch.write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
    return manifest


def read_manifest(source: Path) -> Manifest:
    """Return the manifest of a backup. Raises ConfigError for what is none, or is of a newer stepdown."""
    try:
        manifest = msgspec.json.decode((source / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError as exc:
        raise ConfigError(f"{source}: no whole backup, it has no {MANIFEST}") from exc
    except (OSError, msgspec.DecodeError) as exc:
        raise ConfigError(f"{source / MANIFEST}: {exc}") from exc
    if manifest.format > FORMAT or manifest.layout > SCHEMA_VERSION:
        raise ConfigError(f"{source}: made by stepdown {manifest.stepdown}, which is newer: upgrade first")
    return manifest


def check_backup(source: Path, manifest: Manifest) -> None:
    """Raise ConfigError for the first file that is missing or is not what was copied."""
    for file in manifest.files:
        path = source / file.path
        if not path.resolve().is_relative_to(source.resolve()):
            raise ConfigError(f"{source}: '{file.path}' leads out of the backup")
        if not path.is_file() or path.stat().st_size != file.size_bytes or _hash_file(path) != file.sha256:
            raise ConfigError(f"{path}: missing, or not what was copied: use another backup")


def restore(home: Home, source: Path, *, may_replace: bool) -> tuple[Manifest, Path | None]:
    """Put a backup in the place of `home`; return its manifest and the folder with what was there before.

    Every file is checked before anything is moved. Ended in the middle, it leaves a home that no gateway
    starts from, because its database comes last. Raises ConfigError for a backup that is not whole, a
    home that a gateway serves from, and one that is not empty unless `may_replace`.
    """
    manifest = read_manifest(source)
    check_backup(source, manifest)
    home.make()
    with _lock(home):
        old = [path for path in home.folder.iterdir() if not _may_stay(path)]
        if old and not may_replace:
            raise ConfigError(f"home: {home.folder} is not empty; --replace moves aside what is there")
        stage = home.folder / _STAGE
        shutil.rmtree(stage, ignore_errors=True)
        for file in manifest.files:
            _copy_plain(source / file.path, stage / file.path)
        replaced = _move_aside(home, old) if old else None
        _move_in(home, stage)
    return manifest, replaced


def _may_stay(path: Path) -> bool:
    return path.name in {"lock", _STAGE} or path.name.startswith(REPLACED)


def _move_aside(home: Home, old: list[Path]) -> Path:
    replaced = home.folder / time.strftime(f"{REPLACED}%Y%m%dT%H%M%SZ", time.gmtime())
    replaced.mkdir(mode=0o700)
    # The database first: without it, and with the mark that it held keys, no gateway starts.
    for path in sorted(old, key=lambda one: not one.name.startswith(home.state_db.name)):
        path.rename(replaced / path.name)
    return replaced


def _move_in(home: Home, stage: Path) -> None:
    for path in sorted(stage.iterdir(), key=lambda one: one.name == home.state_db.name):
        path.rename(home.folder / path.name)
    stage.rmdir()


def _prepare_target(target: Path, home: Home) -> None:
    if target.absolute().is_relative_to(home.folder):
        raise ConfigError(f"{target}: a backup inside the home would be lost with it")
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_empty = not any(target.iterdir())
    except OSError as exc:
        raise ConfigError(f"{target}: cannot be made: {exc.strerror}") from exc
    if not is_empty:
        raise ConfigError(f"{target}: not empty; a backup is never written over another")
    needed = sum((home.folder / path).stat().st_size for path in _list_files(home)) + _SPARE_BYTES
    free = shutil.disk_usage(target).free
    if free < needed:
        raise ConfigError(f"{target}: {free >> 20:,} MB are free, {needed >> 20:,} MB are needed")


def _list_files(home: Home) -> list[str]:
    """Return the paths of all state; the database first: what it names is never newer than the copy of it."""
    found = [
        str(path.relative_to(home.folder))
        for path in sorted(home.folder.rglob("*"))
        if path.is_file() and not _is_left_out(path.relative_to(home.folder))
    ]
    return sorted(found, key=lambda path: path != home.state_db.name)


def _is_left_out(path: Path) -> bool:
    top = path.parts[0]
    is_of_run = top in LEFT_OUT or top == _STAGE or top.startswith(REPLACED)
    return is_of_run or path.name.endswith(_BESIDE_DATABASE)


def _copy_file(source: Path, target: Path, name: str) -> BackedUpFile | None:
    """Copy one file; None if it has gone, as an old version of a specialist does."""
    try:
        if source.suffix == ".db":
            _copy_database(source, target)
        else:
            _copy_plain(source, target)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise StepdownError(f"{source}: cannot be copied: {exc.strerror}") from exc
    return BackedUpFile(name, target.stat().st_size, _hash_file(target))


def _copy_plain(source: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with source.open("rb") as reading, target.open("xb") as writing:
        target.chmod(0o600)
        shutil.copyfileobj(reading, writing, 1 << 20)
        writing.flush()
        os.fsync(writing.fileno())


def _copy_database(source: Path, target: Path) -> None:
    """Copy a database in one step, one snapshot: in steps, a busy writer would make it begin anew."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    target.touch(mode=0o600, exist_ok=False)
    uri = f"{source.absolute().as_uri()}?mode=rw"
    try:
        with (
            closing(sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            old.backup(new, pages=-1)
            # The copy is one file: a log beside it would not be in the manifest.
            new.execute("PRAGMA journal_mode=DELETE")
            [(verdict,), *_] = new.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.Error as exc:
        raise StepdownError(describe_fault(source, exc)) from exc
    if verdict != "ok":
        raise StepdownError(describe_fault(source, sqlite3.DatabaseError(verdict.splitlines()[0])))


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _lock(home: Home) -> Iterator[None]:
    """Hold the home's lock, as a gateway does. Raises ConfigError if one serves from it."""
    with home.lock.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise ConfigError(f"a gateway serves from {home.folder}: stop it first") from exc
        yield
