"""A text encoder which runs an ONNX file, one text at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Tokenizer

from gateway.errors import RegistryError, SpecialistError
from gateway.specialists.features import FloatVector

_MATRIX = 2
"""Dimensions of an output which is pooled already: (batch, dimension)."""

# Nobody writes 32 characters a word-piece; a longer text is refused before it costs time.
_MAX_CHARS_PER_TOKEN = 32


class OnnxEncoder:
    """Text to a unit vector: tokenize, run, mean-pool over the tokens, normalise.

    Always one text a run: dynamic int8 quantisation takes its scale from the whole batch,
    so that a vector would depend on its batch mates, and what was certified must be what serves.
    """

    def __init__(self, name: str, model: Path, tokenizer: Tokenizer, max_tokens: int) -> None:
        """Raise RegistryError when `model` is no ONNX encoder."""
        self.name = name
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._session = open_model(model)
        self._inputs = [node.name for node in self._session.get_inputs()]
        self.dimension = int(self._run("dimension").shape[0])

    def encode(self, text: str) -> FloatVector:
        """Return the (dimension,) unit vector of `text`; thread-safe, the same bits every time.

        Raises SpecialistError("empty input"), or SpecialistError("input too long") beyond
        the token limit: nothing is truncated.
        """
        if not text.strip():
            raise SpecialistError("empty input")
        if len(text) > self._max_tokens * _MAX_CHARS_PER_TOKEN:
            raise SpecialistError("input too long", f"{len(text)} characters")
        return self._run(text)

    def _run(self, text: str) -> FloatVector:
        try:
            ids: list[int] = self._tokenizer.encode(text).ids
        except (TypeError, UnicodeError):
            # A lone surrogate, which JSON can carry and UTF-8 cannot.
            raise SpecialistError("input unreadable") from None
        if len(ids) > self._max_tokens:
            raise SpecialistError("input too long", f"{len(ids)} of {self._max_tokens} tokens")
        tokens = np.array([ids], np.int64)
        known: dict[str, NDArray[np.int64]] = {
            "input_ids": tokens,
            "attention_mask": np.ones_like(tokens),
            "token_type_ids": np.zeros_like(tokens),
        }
        output: Any = self._session.run(None, {name: known[name] for name in self._inputs})[0]
        pooled = output[0] if output.ndim == _MATRIX else output[0].mean(axis=0, dtype=np.float32)
        vector: FloatVector = (pooled / np.linalg.norm(pooled)).astype(np.float32, copy=False)
        return vector


def open_model(model: Path) -> ort.InferenceSession:
    """Return a session of one thread for `model`. Raises RegistryError when it is no ONNX model."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # No slower here (4.1 ms with and without), and what a long text took is given back.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as exc:
        # onnxruntime has no public tree of errors.
        raise RegistryError(f"{model} is no ONNX model: {exc}") from exc


def open_tokenizer(path: Path) -> Tokenizer:
    """Return the tokenizer in the file `path`; it neither truncates nor pads. Raises RegistryError."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as exc:
        # tokenizers raises bare Exception.
        raise RegistryError(f"{path} is no tokenizer: {exc}") from exc
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
