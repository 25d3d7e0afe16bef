"""Any encoder exported to a folder with `model.onnx` and `tokenizer.json`."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import msgspec

from gateway.errors import RegistryError
from gateway.registry.models import is_file_name
from gateway.specialists.int8_kernel import find_int8_kernel, name_rounding
from gateway.specialists.onnx_encoder import OnnxEncoder
from gateway.specialists.tokenization import open_tokenizer

_LOCATION = re.compile(rb"\x0a\x08location\x12([\x01-\x7f])([^\x00]{1,127})", re.DOTALL)
"""The place of a tensor's data as onnx.proto writes it: key, then the length of the value, and the value."""
_QUANTIZED = re.compile(rb"DynamicQuantize|MatMulInteger|QLinear|QAttention|QGemm")
"""Operators that multiply in int8."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the encoder."""

    folder: str
    max_tokens: int = 256


def create(config: Config) -> OnnxEncoder:
    """Return the encoder of `config.folder`; its name ends in the hash of its files.

    The first output is either pooled, (batch, dimension), or per token,
    (batch, tokens, dimension), and is then mean-pooled. Raises RegistryError naming the file.
    """
    folder = Path(config.folder)
    model, vocabulary = folder / "model.onnx", folder / "tokenizer.json"
    graph = _read(model)
    weights = _find_weights(model, graph)
    digest = hashlib.sha256()
    for content in (graph, _read(vocabulary), *([_read(weights)] if weights else [])):
        digest.update(hashlib.sha256(content).digest())
    name = f"{folder.resolve().name}@{digest.hexdigest()[:8]}{_name_rounding(graph)}"
    return OnnxEncoder(name, model, open_tokenizer(vocabulary), config.max_tokens, weights=weights)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise RegistryError(f"{path} is unreadable: {exc}") from exc


def _find_weights(model: Path, graph: bytes) -> Path | None:
    """Return the file that holds the weights of `graph`, None if it holds them itself.

    Without its hash in the name, other weights would pass for the same encoder.
    """
    names = {found[2][: found[1][0]].decode(errors="replace") for found in _LOCATION.finditer(graph)}
    if len(names) > 1 or not all(map(is_file_name, names)):
        raise RegistryError(f"{model} has its weights in {', '.join(sorted(names))}: export them to one file")
    return model.with_name(names.pop()) if names else None


def _name_rounding(graph: bytes) -> str:
    """Return what int8 numbers depend on as part of a name, if an encoder with this `graph` does."""
    return f"-{name_rounding(find_int8_kernel() or 'inexact')}" if _QUANTIZED.search(graph) else ""
