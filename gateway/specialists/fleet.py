"""The specialists which are loaded in this process around one shared encoder."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import numpy as np

from gateway.catalog import load
from gateway.errors import ConfigError, RegistryError, SpecialistError
from gateway.registry.models import verify_folder
from gateway.specialists.base import Encoder, Proposal, Runtime


class Version(msgspec.Struct, frozen=True):
    """One version of one task."""

    task: str
    number: int


class Fleet:
    """Loads versions and lets them draft; every method may be called from any thread."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._runtimes: dict[Version, Runtime] = {}
        self._loading = threading.Lock()

    def load(self, version: Version, folder: Path) -> None:
        """Verify `folder` and make `version` ready; nothing if it is ready already. Blocks.

        Raises RegistryError when a file is missing or changed, when the folder holds
        another version, or when it was trained on another encoder's vectors.
        """
        with self._loading:
            if version not in self._runtimes:
                self._runtimes[version] = self._create(version, folder)

    def unload(self, version: Version) -> None:
        """Forget `version`; a draft in the making still ends."""
        self._runtimes.pop(version, None)

    def draft(self, version: Version, text: str) -> Proposal:
        """Return the proposal of `version`. Blocks. Raises SpecialistError."""
        runtime = self._runtimes.get(version)
        if runtime is None:
            raise SpecialistError("version not loaded", f"{version.task} {version.number}")
        return runtime.draft(text)

    def embed(self, text: str) -> bytes:
        """Return the unit embedding of `text` as float32 bytes. Blocks. Raises SpecialistError."""
        return np.asarray(self._encoder.encode(text), dtype="<f4").tobytes()

    def _create(self, version: Version, folder: Path) -> Runtime:
        manifest = verify_folder(folder)
        if Version(manifest.task, manifest.version) != version:
            raise RegistryError(
                f"{folder} holds {manifest.task!r} version {manifest.version}, "
                f"not {version.task!r} version {version.number}"
            )
        if manifest.encoder != self._encoder.name:
            raise RegistryError(
                f"{folder} was trained on {manifest.encoder!r}, this host runs "
                f"{self._encoder.name!r}: train it again"
            )
        try:
            module = load("gateway.specialists.runtimes", manifest.runtime)
        except ConfigError as exc:
            raise RegistryError(f"{folder}: {exc}") from exc
        runtime: Runtime = module.create(folder, self._encoder)
        return runtime
