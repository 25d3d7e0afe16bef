"""What stays of a student on its task's bench until the next version."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from gateway.distill import checkpoints
from gateway.distill.recipes.span.network import State


class SavedStudent(msgspec.Struct, frozen=True):
    """A student's state, the digests of all texts which it and its ancestors learnt, and its number."""

    state: State
    texts: frozenset[str]
    number: int


def digest(text: str) -> str:
    """Return what `text` is remembered by."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]


def save(memory: SavedStudent, path: Path) -> None:
    """Replace the student at `path`, all or nothing."""
    state = memory.state
    checkpoints.save(
        {
            "weights": dict(state.weights),
            "tags": state.tags,
            "options": state.options,
            "texts": sorted(memory.texts),
            "number": memory.number,
        },
        path,
    )


def load(path: Path) -> SavedStudent | None:
    """Return the student at `path`, None without a readable one."""
    saved = checkpoints.load(path)
    if saved is None:
        return None
    state = State(saved["weights"], saved["tags"], saved["options"])
    return SavedStudent(state, frozenset(saved["texts"]), saved["number"])
