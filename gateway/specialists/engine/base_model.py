"""The card of a base model, for the recipes that train adapters on it and the engine that serves them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from gateway.registry.files import read_json
from gateway.registry.manifest import Manifest

CARD = "base.json"


class BaseCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One converted base.

    A student's prompt is `prompt_prefix` + input + `prompt_suffix`: one user turn of the model's
    chat template, without a system message. `context` counts tokens, prompt and answer together.
    Adapters have `rank` (three times that where q, k and v are one projection) in each of
    `modules`. `source_sha256` (hex) is that of the weights that `source` names.
    """

    name: str
    prompt_prefix: str
    prompt_suffix: str
    context: int
    rank: int
    modules: tuple[str, ...]
    quantization: str
    source: str
    source_sha256: str


def write_card(card: BaseCard, folder: Path) -> None:
    """Write `card` into `folder` as base.json."""
    (folder / CARD).write_bytes(msgspec.json.format(msgspec.json.encode(card)))


def read_card(folder: Path) -> BaseCard:
    """Return the card in `folder`. Raises RegistryError naming the file."""
    return read_json(folder / CARD, BaseCard)


def base_digest(manifest: Manifest) -> str:
    """Return the sha256 (hex) over the names and hashes of all files: an adapter fits one digest."""
    total = hashlib.sha256()
    for name, content in sorted(manifest.files.items()):
        total.update(f"{name} {content}\n".encode())
    return total.hexdigest()
