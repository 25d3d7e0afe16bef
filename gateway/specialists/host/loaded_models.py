"""The specialists that are loaded in this process, around one encoder and one pool of engines."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import numpy as np

from gateway.config.plugins import load_plugin
from gateway.core import DraftRequest
from gateway.errors import ConfigError, RegistryError, SpecialistError
from gateway.registry.models import verify_folder
from gateway.specialists.base import Listener, Prediction, Runtime
from gateway.specialists.learnt import LearntTexts, read_learnt_texts
from gateway.specialists.shared_resources import SharedResources


class Version(msgspec.Struct, frozen=True):
    """One version of one task."""

    task: str
    number: int


class _LoadedVersion(msgspec.Struct, frozen=True):
    """A version that is ready, and the texts that it has learnt."""

    runtime: Runtime
    learnt: LearntTexts


class LoadedModels:
    """Loads versions and lets them draft; every method may be called from any thread."""

    def __init__(self, resources: SharedResources) -> None:
        self._resources = resources
        self._loaded: dict[Version, _LoadedVersion] = {}
        self._loading = threading.Lock()

    def load(self, version: Version, folder: Path) -> None:
        """Verify `folder` and make `version` ready, unless it is ready already. Blocks.

        Raises RegistryError when a file is missing or changed, when the folder holds
        another version, or when it was trained on another encoder's vectors.
        """
        with self._loading:
            if version not in self._loaded:
                learnt = read_learnt_texts(folder)
                self._loaded[version] = _LoadedVersion(self._create(version, folder), learnt)

    def unload(self, version: Version) -> None:
        """Free `version`; a draft in progress may fail."""
        if loaded := self._loaded.pop(version, None):
            loaded.runtime.close()

    def is_remote(self, version: Version) -> bool:
        """Whether the drafts of `version` are made in another process."""
        loaded = self._loaded.get(version)
        return loaded is not None and loaded.runtime.is_remote

    def has_learnt(self, version: Version, text: str) -> bool:
        """Whether `version` has learnt this very text; about 3 us."""
        loaded = self._loaded.get(version)
        return loaded is not None and text in loaded.learnt

    def draft(self, version: Version, draft_request: DraftRequest, listener: Listener) -> Prediction:
        """Return the prediction of `version`. Blocks. Raises SpecialistError."""
        loaded = self._loaded.get(version)
        if loaded is None:
            raise SpecialistError("version not loaded", f"{version.task} {version.number}")
        return loaded.runtime.draft(draft_request, listener)

    def embed(self, text: str) -> bytes:
        """Return the unit embedding of `text` as float32 bytes. Blocks. Raises SpecialistError."""
        return np.asarray(self._resources.encoder.encode(text), dtype="<f4").tobytes()

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
            module = load_plugin("gateway.specialists.runtimes", manifest.runtime)
        except ConfigError as exc:
            raise RegistryError(f"{folder}: {exc}") from exc
        runtime: Runtime = module.create(folder, self._resources)
        return runtime
