"""Versions as they lie at a place that several machines share, found by number and read by digest.

`versions/TASK/NUMBER.json` is a version's manifest. It is written last, and only if it is absent: a version
is there as a whole or not at all, and a number is given once. `files/TASK/DIGEST/NAME` are the files of the
manifest with that sha256. `versions/TASK/NUMBER.deleted` says that a version is gone for good.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from gateway.errors import RegistryError
from gateway.registry.files import digest_of
from gateway.registry.manifest import Manifest
from gateway.registry.models import MANIFEST, is_file_name, is_task_name, read_manifest
from gateway.store.object_storage import Storage, require_exclusive

SETTING = "registry.storage"
LITTER_AFTER_S = 86_400.0
"""Files that no manifest names are just being uploaded; after a day they are what a killed learner left."""
_MANIFESTS, _FILES = "versions", "files"
_PUBLISHED, _DELETED = ".json", ".deleted"


class TaskVersions(msgspec.Struct, frozen=True):
    """The numbers that one task has given."""

    published: frozenset[int] = frozenset()
    """Without the deleted ones."""
    deleted: frozenset[int] = frozenset()


class PublishedVersions:
    """All versions at one place. Every method may block, and raises RegistryError if the place fails."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._may_write = False

    def list_tasks(self) -> Mapping[str, TaskVersions]:
        """Return what each task has."""
        found: dict[str, dict[str, set[int]]] = {}
        for path in self._list(_MANIFESTS):
            task, _, name = path.removeprefix(f"{_MANIFESTS}/").rpartition("/")
            number, dot, kind = name.partition(".")
            if is_task_name(task) and number.isdecimal() and dot + kind in (_PUBLISHED, _DELETED):
                found.setdefault(task, {}).setdefault(dot + kind, set()).add(int(number))
        return {task: _read_names(kinds) for task, kinds in found.items()}

    def publish(self, folder: Path) -> None:
        """Publish the version in `folder`, its manifest included.

        Raises RegistryError also if another machine has published that number; nothing is changed then.
        """
        manifest, digest = read_manifest(folder), digest_of(folder / MANIFEST)
        task, version = manifest.task, manifest.version
        try:
            if not self._may_write:
                require_exclusive(self._storage, SETTING)
                self._may_write = True
            for name in manifest.files:
                self._storage.upload(folder / name, _name_file(task, digest, name))
            content = (folder / MANIFEST).read_bytes()
            is_first = self._storage.create(_name_manifest(task, version), content)
            if not is_first:
                self._delete_files(task, digest)
        except OSError as exc:
            raise _away(f"version {version} of {task} is not published", exc) from exc
        if not is_first:
            raise RegistryError(f"version {version} of {task} was published by another machine meanwhile")

    def pull(self, task: str, version: int, digest: str, target: Path) -> None:
        """Copy a version into the empty folder `target`, and verify all of it.

        With a `digest` the manifest must have it. Raises RegistryError naming what is missing or damaged.
        """
        content = self._read_manifest(task, version)
        found = hashlib.sha256(content).hexdigest()
        if digest and found != digest:
            raise RegistryError(
                f"version {version} of {task} in the storage is not the certified one: the sha256 of "
                f"{_name_manifest(task, version)} is {found[:16]}..., certified is {digest[:16]}..."
            )
        (target / MANIFEST).write_bytes(content)
        manifest = _decode(content, task, version)
        for name, sha256 in manifest.files.items():
            self._pull_file(task, found, name, target)
            if digest_of(target / name) != sha256:
                raise RegistryError(
                    f"{_name_file(task, found, name)} in the storage is damaged: its sha256 is not that of "
                    f"version {version} of {task}"
                )

    def delete(self, task: str, version: int) -> None:
        """Delete a version for good: its number is never given again, and every machine drops its copy."""
        try:
            try:
                content = self._storage.read(_name_manifest(task, version))
            except FileNotFoundError:
                content = b""
            self._storage.create(_name_manifest(task, version, _DELETED), b"")
            self._storage.delete(_name_manifest(task, version))
            if content:
                self._delete_files(task, hashlib.sha256(content).hexdigest())
        except OSError as exc:
            raise _away(f"version {version} of {task} is not deleted", exc) from exc

    def delete_litter(self, now: float) -> int:
        """Delete the files that no manifest names and that are a day old; return how many.

        So what a killed learner left goes, and what a killed deletion did not come to.
        """
        try:
            # Before the manifests: files of one that comes meanwhile are not among these, or are young.
            files = self._storage.list_files(_FILES)
            named = self._read_digests()
            litter = [
                path
                for path in files
                if path.split("/")[-2] not in named and self._storage.modified_at(path) < now - LITTER_AFTER_S
            ]
            for path in litter:
                self._storage.delete(path)
        except OSError as exc:
            raise _away("nothing is tidied", exc) from exc
        return len(litter)

    def _read_digests(self) -> set[str]:
        """Return the digests of the manifests of all versions, and end deletions that were begun."""
        names = set(self._storage.list_files(_MANIFESTS))
        digests = set()
        for name in names:
            if not name.endswith(_PUBLISHED):
                continue
            if name.removesuffix(_PUBLISHED) + _DELETED in names:
                self._storage.delete(name)
            else:
                digests.add(hashlib.sha256(self._storage.read(name)).hexdigest())
        return digests

    def _list(self, folder: str) -> list[str]:
        try:
            return self._storage.list_files(folder)
        except OSError as exc:
            raise _away("versions cannot be listed", exc) from exc

    def _read_manifest(self, task: str, version: int) -> bytes:
        try:
            return self._storage.read(_name_manifest(task, version))
        except FileNotFoundError:
            raise RegistryError(f"version {version} of {task} is not in the storage") from None
        except OSError as exc:
            raise _away(f"version {version} of {task} cannot be pulled", exc) from exc

    def _pull_file(self, task: str, digest: str, name: str, target: Path) -> None:
        if not is_file_name(name):
            raise RegistryError(f"a manifest of {task} in the storage lists {name!r}, which is no file name")
        try:
            self._storage.download(_name_file(task, digest, name), target / name)
        except FileNotFoundError:
            raise RegistryError(f"{_name_file(task, digest, name)} is missing in the storage") from None
        except OSError as exc:
            raise _away(f"{name} of {task} cannot be pulled", exc) from exc

    def _delete_files(self, task: str, digest: str) -> None:
        for path in self._list(f"{_FILES}/{task}/{digest}"):
            self._storage.delete(path)


def _read_names(kinds: Mapping[str, set[int]]) -> TaskVersions:
    deleted = frozenset(kinds.get(_DELETED, ()))
    return TaskVersions(frozenset(kinds.get(_PUBLISHED, ())) - deleted, deleted)


def _decode(content: bytes, task: str, version: int) -> Manifest:
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except (ValueError, RecursionError) as exc:
        raise RegistryError(f"{_name_manifest(task, version)} in the storage is damaged: {exc}") from exc
    if (manifest.task, manifest.version) != (task, version):
        raise RegistryError(
            f"{_name_manifest(task, version)} in the storage speaks of {manifest.task!r} "
            f"version {manifest.version}"
        )
    return manifest


def _name_manifest(task: str, version: int, kind: str = _PUBLISHED) -> str:
    return f"{_MANIFESTS}/{task}/{version}{kind}"


def _name_file(task: str, digest: str, name: str) -> str:
    return f"{_FILES}/{task}/{digest}/{name}"


def _away(what: str, exc: OSError) -> RegistryError:
    return RegistryError(f"{SETTING}: {what}: {exc}")
