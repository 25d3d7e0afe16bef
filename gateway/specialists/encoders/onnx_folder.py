"""Any encoder exported to a folder with `model.onnx` and `tokenizer.json`."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from gateway.errors import RegistryError
from gateway.specialists.onnx_encoder import OnnxEncoder
from gateway.specialists.tokenization import open_tokenizer


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the encoder."""

    folder: str
    max_tokens: int = 256


def create(config: Config) -> OnnxEncoder:
    """Return the encoder of `config.folder`; its name ends in the hash of both files.

    The first output is either pooled, (batch, dimension), or per token,
    (batch, tokens, dimension), and is then mean-pooled. Raises RegistryError naming the file.
    """
    folder = Path(config.folder)
    model, vocabulary = folder / "model.onnx", folder / "tokenizer.json"
    digest = hashlib.sha256()
    for path in (model, vocabulary):
        try:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as exc:
            raise RegistryError(f"{path} is unreadable: {exc}") from exc
    name = f"{folder.resolve().name}@{digest.hexdigest()[:8]}"
    return OnnxEncoder(name, model, open_tokenizer(vocabulary), config.max_tokens)
