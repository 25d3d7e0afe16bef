"""Files of tensors and plain data which are never half written: a killed training goes on from them."""

from __future__ import annotations

import logging
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from gateway.store.atomic_file import replace_file

logger = logging.getLogger(__name__)

_UNREADABLE = (OSError, RuntimeError, ValueError, LookupError, EOFError, UnpicklingError)


class Checkpoint:
    """Where a training stands; one which belongs to other lessons (another `key`) is ignored."""

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._key = key

    def load(self) -> dict[str, Any] | None:
        """Return what was saved last under this key."""
        saved = load(self._path)
        return saved if saved and saved.get("key") == self._key else None

    def save(self, saved: dict[str, Any]) -> None:
        """Replace what was saved, all or nothing."""
        save(saved | {"key": self._key}, self._path)

    def clear(self) -> None:
        """Forget it: the training is over."""
        self._path.unlink(missing_ok=True)


def save(value: dict[str, Any], path: Path) -> None:
    """Replace the file at `path` by `value`, all or nothing."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as scratch:
        torch.save(value, scratch)


def load(path: Path) -> dict[str, Any] | None:
    """Return what `path` holds, None when there is nothing readable; runs no code which it may hold."""
    import torch

    if not path.exists():
        return None
    try:
        saved: dict[str, Any] = torch.load(path, weights_only=True)
    except _UNREADABLE as exc:
        # Never half written by us: a broken disk, and what was learnt can be learnt again.
        logger.warning("%s is unreadable, its training begins anew: %s", path, exc)
        return None
    return saved
