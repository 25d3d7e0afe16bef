"""The adapters that an engine process has loaded, within a memory limit."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import onnxruntime_genai as og


class AdapterCache:
    """Unloads the least recently used adapters for new ones. For one thread, between two batches.

    Unloading costs little: a file of 20 MB loads in 0.3 ms while the kernel has it in memory.
    """

    def __init__(self, model: Any, memory_mb: int) -> None:
        self._adapters = og.Adapters(model)
        # The other half is for the base, its activations and its caches.
        self._max_bytes = (memory_mb << 20) // 2
        self._sizes: OrderedDict[str, int] = OrderedDict()

    def load(self, path: str) -> tuple[Any, str]:
        """Return the adapter in the file `path` as the arguments of Generator.set_active_adapter."""
        if path in self._sizes:
            self._sizes.move_to_end(path)
            return self._adapters, path
        size = Path(path).stat().st_size
        while self._sizes and sum(self._sizes.values()) + size > self._max_bytes:
            self.unload(next(iter(self._sizes)))
        self._adapters.load(path, path)
        self._sizes[path] = size
        return self._adapters, path

    def unload(self, path: str) -> None:
        """Free an adapter, if it is loaded."""
        if self._sizes.pop(path, None) is not None:
            self._adapters.unload(path)

    def unload_all(self) -> None:
        """Free all adapters."""
        for path in list(self._sizes):
            self.unload(path)
