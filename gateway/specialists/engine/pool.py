"""The generative engines of one process: a child process per base, shared by its adapters."""

from __future__ import annotations

import threading
from pathlib import Path

from gateway.errors import RegistryError
from gateway.registry.models import Registry
from gateway.specialists.engine import base_model
from gateway.specialists.engine.client import EngineClient


class EnginePool:
    """Opens engines as they are needed; every method may be called from any thread.

    `models` is the folder of pulled bases; it need not exist. An engine takes at most
    `memory_mb`.
    """

    def __init__(self, models: Path, memory_mb: int) -> None:
        self.models = models
        self._memory_mb = memory_mb
        self._opening = threading.Lock()
        self._engines: dict[str, EngineClient] = {}

    def open_engine(self, base: str, digest: str) -> EngineClient:
        """Return the engine of the base with this name and digest, once all its files are verified.

        Raises RegistryError naming the file that is missing or changed, or if the pulled base
        has another digest.
        """
        with self._opening:
            if digest not in self._engines:
                self._engines[digest] = EngineClient(self._verified(base, digest), self._memory_mb)
            return self._engines[digest]

    def close(self) -> None:
        """End every engine."""
        with self._opening:
            for engine in self._engines.values():
                engine.close()
            self._engines.clear()

    def _verified(self, base: str, digest: str) -> Path:
        registry = Registry(self.models)
        versions = registry.versions(base)
        if not versions:
            raise RegistryError(f"{self.models} holds no base {base!r}: pull it with `stepdown models pull`")
        for version in reversed(versions):
            if base_model.base_digest(registry.read(base, version)) == digest:
                return registry.verify(base, version)[1]
        raise RegistryError(
            f"{registry.folder(base, versions[-1])} is another base than the one that the adapter was "
            "trained on: train it again"
        )
