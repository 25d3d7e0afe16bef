"""The registry of a machine among several: published versions come to its own folder when they are needed."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from gateway.errors import RegistryError
from gateway.registry.manifest import Manifest
from gateway.registry.models import Registry, is_task_name, verify_folder
from gateway.registry.published import PublishedVersions, TaskVersions

logger = logging.getLogger(__name__)

LISTED_FOR_S = 5.0
_NONE = TaskVersions()


class Copy(msgspec.Struct, frozen=True):
    """A version on this machine; `at` is when it came, in unix seconds."""

    task: str
    version: int
    at: float
    size_bytes: int


class SharedRegistry(Registry):
    """A Registry whose versions are those of all machines, and whose folder is this machine's copy.

    While the storage is away the folder's versions and the last list count, and nothing can be published.
    Every method may block.
    """

    def __init__(
        self,
        folder: Path,
        published: PublishedVersions,
        clock: Callable[[], float] = time.monotonic,
        require_base: Callable[[Path], object] = lambda folder: None,
    ) -> None:
        """`require_base` is called with the folder of a version before that is here; it may raise."""
        super().__init__(folder)
        self._require_base = require_base
        self._published = published
        self._clock = clock
        self._listed: Mapping[str, TaskVersions] = {}
        self._listed_at = float("-inf")
        self._is_away = False

    def tasks(self) -> list[str]:
        """See Registry."""
        listed = [task for task, versions in self._list().items() if versions.published]
        return sorted({*super().tasks(), *listed})

    def versions(self, task: str) -> list[int]:
        """See Registry."""
        listed = self._list().get(task, _NONE)
        return sorted({*super().versions(task), *listed.published} - listed.deleted)

    def next_version(self, task: str) -> int:
        """See Registry; a deleted number is not given again. Raises RegistryError if the storage is away."""
        self.refresh()
        listed = self._listed.get(task, _NONE)
        return max({*super().versions(task), *listed.published, *listed.deleted}, default=0) + 1

    def delete(self, task: str, version: int) -> None:
        """See Registry; on every machine. Raises RegistryError if the storage is away."""
        self._published.delete(task, version)
        self._listed_at = float("-inf")
        super().delete(task, version)

    def folder(self, task: str, version: int) -> Path:
        """Return where a version lies here; one that is not here is pulled. Raises RegistryError."""
        self.pull(task, version)
        return super().folder(task, version)

    def verify(self, task: str, version: int, digest: str = "") -> tuple[Manifest, Path]:
        """See Registry; a copy that is damaged, or another one, is pulled once more."""
        self.mend(task, version, digest)
        return super().verify(task, version, digest)

    def pull(self, task: str, version: int, digest: str = "") -> None:
        """Have a version here, the one with that `digest` if one is given. Raises RegistryError."""
        if not self.has(task, version, digest):
            self._fetch(task, version, digest)

    def mend(self, task: str, version: int, digest: str = "") -> None:
        """Do as `pull`, also for a version that is here but not as it was published. Raises RegistryError."""
        self.pull(task, version, digest)
        try:
            verify_folder(self._version_folder(task, version))
        except RegistryError as exc:
            logger.warning("the copy of a version is pulled once more: %s", exc)
            self._fetch(task, version, digest)
        self._require_base(self._version_folder(task, version))

    def share(self, task: str, version: int) -> bool:
        """Publish what is on this machine alone, from before there was a storage; False if it is known there.

        Raises RegistryError if the storage is away, or if another machine was first.
        """
        listed = self._list().get(task, _NONE)
        if self._is_away or version in listed.published | listed.deleted:
            return False
        self._share(self._version_folder(task, version))
        return True

    def refresh(self) -> None:
        """Read what all machines have published. Raises RegistryError."""
        self._listed = self._published.list_tasks()
        self._listed_at = self._clock()

    def drop_deleted(self) -> int:
        """Drop the copies of versions that were deleted, by whichever machine; return how many."""
        listed = self._list()
        deleted = [one for one in self.copies() if one.version in listed.get(one.task, _NONE).deleted]
        for copy in deleted:
            super().delete(copy.task, copy.version)
        return len(deleted)

    def drop_copy(self, task: str, version: int) -> None:
        """Drop this machine's copy of a version; it is kept if the storage has none."""
        if version in self._list().get(task, _NONE).published:
            super().delete(task, version)

    def copies(self) -> list[Copy]:
        """Return the versions that are on this machine, those that came first before the others."""
        folders = [
            folder
            for task_folder in (self._folder.iterdir() if self._folder.is_dir() else ())
            if is_task_name(task_folder.name)
            for folder in task_folder.iterdir()
            if folder.name.isdecimal()
        ]
        return sorted(map(_read_copy, folders), key=lambda copy: copy.at)

    def delete_litter(self, now: float) -> int:
        """See PublishedVersions."""
        return self._published.delete_litter(now)

    def _share(self, staging: Path) -> None:
        self._published.publish(staging)
        self._listed_at = float("-inf")

    def _fetch(self, task: str, version: int, digest: str) -> None:
        staging = self._make_staging(task, ".pulling-")
        try:
            # Not made durable: what a power cut takes of it is pulled once more.
            self._published.pull(task, version, digest, staging)
            self._require_base(staging)
            super().delete(task, version)
            self._take_in(staging, task, version)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _list(self) -> Mapping[str, TaskVersions]:
        if self._clock() - self._listed_at >= LISTED_FOR_S:
            try:
                self.refresh()
                self._is_away = False
            except RegistryError as exc:
                # Asked again after a while, not with every call.
                self._listed_at = self._clock()
                if not self._is_away:
                    logger.error("versions of other machines cannot be seen: %s", exc)
                self._is_away = True
        return self._listed


def _read_copy(folder: Path) -> Copy:
    size_bytes = sum(path.stat().st_size for path in folder.iterdir())
    return Copy(folder.parent.name, int(folder.name), folder.stat().st_mtime, size_bytes)
