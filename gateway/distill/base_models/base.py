"""The protocol of a source of base models, and the model that it returns."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

import msgspec

from gateway.errors import RegistryError
from gateway.registry.files import digest_of


class FetchedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model as its maker published it.

    `folder` holds a checkpoint (config.json, safetensors, tokenizer), or with `gguf` the file of
    that name, or a model that is ONNX already. `source` identifies the model exactly; `sha256`
    (hex) is that of its weights. `name` is the default name of the base.
    """

    folder: Path
    name: str
    source: str
    sha256: str
    gguf: str = ""


class Source(Protocol):
    """A module in `sources/`; its file name is the part of an address before the colon."""

    @staticmethod
    def fetch(address: str) -> FetchedModel:
        """Return the model at `address`, the part after the colon. May take minutes.

        Raises RegistryError when there is no such model, or its hash is not the pinned one.
        """


def digest_weights(folder: Path) -> str:
    """Return the sha256 over names and contents of the weights in a folder.

    Pickled weights (`.bin`, `.pt`) are never opened: reading them runs their code.
    Raises RegistryError when there are none.
    """
    files = sorted(path for kind in ("*.safetensors", "*.onnx", "*.onnx.data") for path in folder.glob(kind))
    if not files:
        raise RegistryError(f"{folder} has no weights: a *.safetensors or *.onnx file is needed")
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name} {digest_of(path)}\n".encode())
    return digest.hexdigest()
