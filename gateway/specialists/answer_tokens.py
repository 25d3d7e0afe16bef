"""The tokens that the teacher took for each answer a specialist chooses from: `max_tokens` is about those."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from gateway.errors import RegistryError
from gateway.registry.files import read_json

FILE = "answer_tokens.json"


def write_answer_tokens(tokens: Sequence[int], folder: Path) -> None:
    """Write the most `tokens` that each answer took, 0 where the teacher did not say."""
    (folder / FILE).write_bytes(msgspec.json.encode(list(tokens)))


def read_answer_tokens(folder: Path, answers: int) -> tuple[int, ...]:
    """Return them for so many `answers`; zeros if the folder has none. Raises RegistryError."""
    path = folder / FILE
    # Specialists of earlier versions have no such file.
    tokens = read_json(path, tuple[int, ...]) if path.exists() else (0,) * answers
    if len(tokens) != answers:
        raise RegistryError(f"{path} holds {len(tokens)} numbers for {answers} answers")
    return tokens
