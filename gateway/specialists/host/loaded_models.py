"""The specialists that are loaded in this process, around one encoder and one pool of engines."""

from __future__ import annotations

import itertools
import math
import threading
from pathlib import Path

import msgspec
import numpy as np

from gateway.core import DraftRequest
from gateway.errors import ConfigError, RegistryError, SpecialistError
from gateway.registry.models import verify_folder
from gateway.specialists import knn
from gateway.specialists.base import Listener, Prediction, Runtime
from gateway.specialists.learnt import LearntTexts, read_learnt_texts
from gateway.specialists.runtimes import open_runtime
from gateway.specialists.shared_resources import SharedResources


class Version(msgspec.Struct, frozen=True):
    """One version of one task."""

    task: str
    number: int


class _LoadedVersion(msgspec.Struct, frozen=True):
    """A version that is ready, the texts that it has learnt, and about what it takes."""

    runtime: Runtime
    learnt: LearntTexts
    size_mb: float


class LoadedModels:
    """Loads versions and lets them draft; every method may be called from any thread.

    What was loaded stays ready to draft until it is unloaded. Where the files of all versions that draft in
    this process come to more than `memory_mb`, those that drafted longest ago leave memory and are read again
    at their next draft: a head takes 10 to 40 ms of CPU for that, a tagger 150 to 200.
    """

    def __init__(self, resources: SharedResources, memory_mb: float = math.inf) -> None:
        self._resources = resources
        self._memory_mb = memory_mb
        self._folders: dict[Version, Path] = {}
        self._loaded: dict[Version, _LoadedVersion] = {}
        self._used: dict[Version, int] = {}
        self._clock = itertools.count()
        self._loading = threading.Lock()

    def load(self, version: Version, folder: Path) -> None:
        """Verify `folder` and make `version` ready, unless it is ready already. Blocks.

        Raises RegistryError when a file is missing or changed, when the folder holds
        another version, or when it was trained on another encoder's vectors.
        """
        with self._loading:
            if version not in self._folders:
                self._read(version, folder)
                self._folders[version] = folder

    def unload(self, version: Version) -> None:
        """Free `version`; a draft in progress may fail."""
        self._folders.pop(version, None)
        self._used.pop(version, None)
        if loaded := self._loaded.pop(version, None):
            loaded.runtime.close()

    def is_remote(self, version: Version) -> bool:
        """Whether the drafts of `version` are made in another process."""
        loaded = self._loaded.get(version)
        return loaded is not None and loaded.runtime.is_remote

    def has_left_memory(self, version: Version) -> bool:
        """Whether the next draft of `version` has to read its files again."""
        return version in self._folders and version not in self._loaded

    def has_learnt(self, version: Version, text: str) -> bool:
        """Whether `version` has learnt this very text; about 3 us once it is in memory."""
        return version in self._folders and text in self._at_work(version).learnt

    def draft(self, version: Version, draft_request: DraftRequest, listener: Listener) -> Prediction:
        """Return the prediction of `version`. Blocks. Raises SpecialistError."""
        return self._at_work(version).runtime.draft(draft_request, listener)

    def embed(self, text: str) -> bytes:
        """Return the unit embedding of `text` as float32 bytes. Blocks. Raises SpecialistError."""
        return np.asarray(self._resources.encoder.encode(text), dtype="<f4").tobytes()

    def _at_work(self, version: Version) -> _LoadedVersion:
        """Return a version, read again if it had to leave memory. Raises SpecialistError."""
        self._used[version] = next(self._clock)
        if loaded := self._loaded.get(version):
            return loaded
        with self._loading:
            folder = self._folders.get(version)
            if folder is None:
                raise SpecialistError("version not loaded", f"{version.task} {version.number}")
            try:
                loaded = self._loaded.get(version) or self._read(version, folder)
            except (RegistryError, OSError) as exc:
                raise SpecialistError("version not loaded", str(exc)) from exc
        if version not in self._folders:
            # Unloaded while it was read: nothing would free it any more.
            self.unload(version)
            raise SpecialistError("version not loaded", f"{version.task} {version.number}")
        return loaded

    def _read(self, version: Version, folder: Path) -> _LoadedVersion:
        runtime = self._create(version, folder)
        size_mb = _memory_mb(folder)
        self._loaded[version] = loaded = _LoadedVersion(runtime, read_learnt_texts(folder), size_mb)
        self._used[version] = next(self._clock)
        self._make_room(version)
        return loaded

    def _make_room(self, kept: Version) -> None:
        """Let versions leave memory until all fit, but for `kept`; those at work finish their drafts."""
        local = {one: each for one, each in self._loaded.copy().items() if not each.runtime.is_remote}
        taken_mb = sum(each.size_mb for each in local.values())
        for version in sorted(local, key=lambda one: self._used.get(one, 0)):
            if taken_mb > self._memory_mb and version != kept:
                taken_mb -= local[version].size_mb
                self._loaded.pop(version, None)

    def _create(self, version: Version, folder: Path) -> Runtime:
        manifest = verify_folder(folder)
        if Version(manifest.task, manifest.version) != version:
            raise RegistryError(
                f"{folder} holds {manifest.task!r} version {manifest.version}, "
                f"not {version.task!r} version {version.number}"
            )
        encoder = self._resources.encoder.name
        if manifest.encoder != encoder:
            raise RegistryError(
                f"{folder} was trained on {manifest.encoder!r}, this host runs {encoder!r}: train it again"
            )
        try:
            return open_runtime(manifest.runtime, folder, self._resources)
        except ConfigError as exc:
            raise RegistryError(f"{folder}: {exc}") from exc


def _memory_mb(folder: Path) -> float:
    """Return about what a version takes in memory, by its files."""
    return sum(file.stat().st_size * _share_in_memory(file) for file in folder.iterdir()) / 2**20


def _share_in_memory(file: Path) -> float:
    if file.name == knn.FILE:
        return 2.0  # with twice their bits
    # onnxruntime orders weights anew: of taggers with files of 23.6 MB each took 31.
    return 1.3 if file.suffix == ".onnx" else 1.0
