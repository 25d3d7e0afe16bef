"""Files of tensors and plain data that are replaced as a whole: a killed training goes on from them."""

from __future__ import annotations

import logging
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from gateway.store.atomic_file import replace_file

logger = logging.getLogger(__name__)

_UNREADABLE = (OSError, RuntimeError, ValueError, LookupError, EOFError, UnpicklingError)


class Checkpoint:
    """The progress of one training; that of another training (another `key`) is ignored."""

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._key = key

    def load(self) -> dict[str, Any] | None:
        """Return what was saved last under this key."""
        saved = load_tensors(self._path)
        return saved if saved and saved.get("key") == self._key else None

    def save(self, progress: dict[str, Any]) -> None:
        """Replace what was saved, all or nothing."""
        save_tensors(progress | {"key": self._key}, self._path)

    def clear(self) -> None:
        """Delete the file: the training is over."""
        self._path.unlink(missing_ok=True)


def save_tensors(value: dict[str, Any], path: Path) -> None:
    """Replace the file at `path` by `value`, all or nothing."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as scratch:
        torch.save(value, scratch)


def load_tensors(path: Path) -> dict[str, Any] | None:
    """Return what `path` holds, None if there is nothing readable; code inside the file is never run."""
    if not path.exists():
        return None
    import torch

    try:
        saved: dict[str, Any] = torch.load(path, weights_only=True)
    except _UNREADABLE as exc:
        # We replace files as a whole, so this is a broken disk; what was learned can be learned again.
        logger.warning("%s is unreadable, its training begins again: %s", path, exc)
        return None
    return saved
