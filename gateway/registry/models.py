"""The folder of published model versions: `<task>/<version>/`, complete or not there at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import time
from pathlib import Path

import msgspec

from gateway.errors import RegistryError
from gateway.registry.files import digest_of
from gateway.registry.manifest import Manifest
from gateway.store.durable_folder import sync_folder

MANIFEST = "manifest.json"

# Names become folders: no separators, no leading dot.
_TASK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_CHUNK_BYTES = 1 << 20
ABANDONED_S = 3_600.0
"""Copying the files of a version takes seconds, of a base model minutes."""


class Registry:
    """The versions of every task below one folder, which need not exist yet.

    Several processes may read while one publishes: a version appears by one rename and
    never changes afterwards.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def tasks(self) -> list[str]:
        """Return the tasks that have at least one version, sorted."""
        if not self._folder.is_dir():
            return []
        names = [entry.name for entry in self._folder.iterdir() if _TASK_NAME.fullmatch(entry.name)]
        return sorted(name for name in names if self.versions(name))

    def versions(self, task: str) -> list[int]:
        """Return the published versions of `task`, oldest first."""
        folder = self._task_folder(task)
        if not folder.is_dir():
            return []
        return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal())

    def next_version(self, task: str) -> int:
        """Return the version number to publish next; 1 for a new task."""
        return max(self.versions(task), default=0) + 1

    def publish(self, manifest: Manifest, source: Path) -> Manifest:
        """Copy the files of `source` in as the version `manifest` names; return it with their hashes.

        `source` is a flat folder of regular files; `manifest.files` is ignored. Everything
        is on disk (fsync) before the version becomes visible.

        Raises RegistryError when the version exists or a file cannot be published.
        """
        staging = self._make_staging(manifest.task, ".publishing-")
        try:
            files = {name: _copy(source / name, staging / name) for name in _publishable(source)}
            published = msgspec.structs.replace(manifest, files=files)
            _write(staging / MANIFEST, msgspec.json.format(msgspec.json.encode(published)))
            sync_folder(staging)
            self._share(staging)
            self._take_in(staging, manifest.task, manifest.version)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        return published

    def delete(self, task: str, version: int) -> None:
        """Delete a version; nothing if there is none. A reader sees it whole or not at all."""
        folder = self._version_folder(task, version)
        if folder.is_dir():
            leaving = Path(tempfile.mkdtemp(prefix=".deleting-", dir=folder.parent))
            folder.rename(leaving / folder.name)
            shutil.rmtree(leaving)

    def read(self, task: str, version: int) -> Manifest:
        """Return the manifest without looking at the files. Raises RegistryError."""
        return read_manifest(self.folder(task, version))

    def folder(self, task: str, version: int) -> Path:
        """Return where a version lies, whether or not it exists."""
        return self._version_folder(task, version)

    def has(self, task: str, version: int, digest: str = "") -> bool:
        """Whether a version is on this machine, and is the one with that `digest` if one is given."""
        manifest = self._version_folder(task, version) / MANIFEST
        try:
            return digest in ("", digest_of(manifest)) and manifest.exists()
        except RegistryError:
            return False

    def is_lost(self, task: str, version: int) -> bool:
        """Whether files of a version are gone; what is in them is not looked at.

        One of another machine is not lost because it is not here.
        """
        if version not in self.versions(task):
            return True
        folder = self._version_folder(task, version)
        try:
            return folder.is_dir() and not all(
                (folder / name).is_file() for name in read_manifest(folder).files
            )
        except RegistryError:
            return True

    def digest(self, task: str, version: int) -> str:
        """Return the sha256 (hex) of a version's manifest, which holds those of all its files."""
        return digest_of(self.folder(task, version) / MANIFEST)

    def verify(self, task: str, version: int, digest: str = "") -> tuple[Manifest, Path]:
        """Return the manifest and the folder of a version with all files as published.

        Raises RegistryError naming the file that is missing, changed or not listed; also if there is a
        `digest` and it is that of another manifest.
        """
        folder = self.folder(task, version)
        manifest = verify_folder(folder)
        if not self.has(task, version, digest):
            raise RegistryError(f"version {version} on this machine is not the one that another certified")
        if (manifest.task, manifest.version) != (task, version):
            raise RegistryError(
                f"{folder / MANIFEST} speaks of {manifest.task!r} version {manifest.version}: "
                "the folder was moved or copied; publish it again"
            )
        return manifest, folder

    def _share(self, staging: Path) -> None:
        """Publish a complete version elsewhere, too. Raises RegistryError; then it is published nowhere."""

    def _make_staging(self, task: str, prefix: str) -> Path:
        task_folder = self._task_folder(task)
        task_folder.mkdir(parents=True, exist_ok=True)
        _sweep_rests(task_folder)
        return Path(tempfile.mkdtemp(prefix=prefix, dir=task_folder))

    def _take_in(self, staging: Path, task: str, version: int) -> None:
        """Make a version visible. Raises RegistryError if it exists."""
        _rename(staging, self._version_folder(task, version))
        sync_folder(self._task_folder(task))
        sync_folder(self._folder)

    def _version_folder(self, task: str, version: int) -> Path:
        return self._task_folder(task) / str(version)

    def _task_folder(self, task: str) -> Path:
        if not is_task_name(task):
            raise RegistryError(f"{task!r} is no task name: 1 to 100 letters, digits, '.', '_' and '-' only")
        return self._folder / task


def is_task_name(name: str) -> bool:
    """Whether versions may be published under `name`."""
    return _TASK_NAME.fullmatch(name) is not None


def is_file_name(name: str) -> bool:
    """Whether a file of a version may be called `name`."""
    return _FILE_NAME.fullmatch(name) is not None


def _sweep_rests(task_folder: Path) -> None:
    """Delete what publishers and deletions that were killed left behind."""
    for rest in task_folder.glob(".*ing-*"):
        with contextlib.suppress(OSError):
            if time.time() - rest.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(rest)


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a version's folder. Raises RegistryError."""
    path = folder / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise RegistryError(f"{path} is missing: no such version, or not a model folder") from None
    except (OSError, ValueError, RecursionError) as exc:
        raise RegistryError(f"{path} is unreadable: {exc}") from exc


def verify_folder(folder: Path) -> Manifest:
    """Return the manifest of a version's folder if all files are as published.

    Raises RegistryError naming the file that is missing, changed or not listed.
    """
    manifest = read_manifest(folder)
    if unlisted := sorted(set(_publishable(folder)) - set(manifest.files)):
        raise RegistryError(f"{folder / unlisted[0]} is not in the manifest: remove it or publish anew")
    for name, digest in manifest.files.items():
        if not is_file_name(name):
            raise RegistryError(f"{folder / MANIFEST} lists {name!r}, which is no file name")
        if digest_of(folder / name) != digest:
            raise RegistryError(f"{folder / name} was changed after publishing: its sha256 differs")
    return manifest


def _publishable(folder: Path) -> list[str]:
    """Return the names of all files of a flat folder but the manifest, sorted."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as exc:
        raise RegistryError(f"{folder} is unreadable: {exc}") from exc
    for entry in entries:
        if entry.is_symlink() or not entry.is_file() or not is_file_name(entry.name):
            raise RegistryError(f"{entry} cannot be part of a version: regular files with plain names only")
    return [entry.name for entry in entries if entry.name != MANIFEST]


def _copy(source: Path, target: Path) -> str:
    """Copy a file durably and return the sha256 of what was written."""
    digest = hashlib.sha256()
    try:
        with source.open("rb") as reading, target.open("xb") as writing:
            while chunk := reading.read(_CHUNK_BYTES):
                digest.update(chunk)
                writing.write(chunk)
            writing.flush()
            os.fsync(writing.fileno())
    except OSError as exc:
        raise RegistryError(f"{source} could not be published: {exc}") from exc
    return digest.hexdigest()


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _rename(staging: Path, target: Path) -> None:
    staging.chmod(0o755)
    try:
        staging.rename(target)
    except OSError as exc:
        raise RegistryError(f"{target} could not be published, or exists already: {exc}") from exc
