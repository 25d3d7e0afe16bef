"""What a base model says of itself to those who train and serve adapters on it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from gateway.registry.files import read_json
from gateway.registry.manifest import Manifest

CARD = "base.json"


class BaseCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One converted base.

    A student's prompt is `head` + input + `tail`: one user turn of the model's chat template,
    without a system message. `context` counts tokens, prompt and answer together. Adapters
    have `rank` (three times that where q, k and v are one projection) in each of `modules`.
    `source_sha256` (hex) is that of the weights which `source` names.
    """

    name: str
    head: str
    tail: str
    context: int
    rank: int
    modules: tuple[str, ...]
    quantization: str
    source: str
    source_sha256: str


def write(card: BaseCard, folder: Path) -> None:
    """Write `card` into `folder` as base.json."""
    (folder / CARD).write_bytes(msgspec.json.format(msgspec.json.encode(card)))


def read(folder: Path) -> BaseCard:
    """Return the card in `folder`. Raises RegistryError naming the file."""
    return read_json(folder / CARD, BaseCard)


def digest(manifest: Manifest) -> str:
    """Return the sha256 (hex) over the names and hashes of all files: what an adapter was made for."""
    total = hashlib.sha256()
    for name, content in sorted(manifest.files.items()):
        total.update(f"{name} {content}\n".encode())
    return total.hexdigest()
