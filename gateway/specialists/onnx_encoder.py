"""A text encoder that runs an ONNX file, one text at a time."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Tokenizer

from gateway.errors import RegistryError
from gateway.specialists.knn import FloatVector
from gateway.specialists.tokenization import encode_input
from gateway.specialists.word_vectors import WordTable, WordVectors

ENCODER_FILE = "encoder.onnx"

_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
_SLOW_FUSION = "SkipLayerNormFusion"
"""It makes of Add and LayerNormalization one node with a scalar loop: 2.2 ms a text instead of 1.9."""
_MATRIX = 2
"""Dimensions of an output that is pooled already: (batch, dimension)."""


class OnnxEncoder:
    """Text to a unit vector: tokenize, run, mean-pool over the tokens, normalize.

    One text per run: dynamic int8 quantization takes its scale from the whole batch, so a
    vector would depend on its neighbors in the batch, and what was certified must be what serves.
    """

    def __init__(
        self,
        name: str,
        model: Path,
        tokenizer: Tokenizer,
        max_tokens: int,
        *,
        weights: Path | None = None,
        words: WordTable | None = None,
    ) -> None:
        """Raise RegistryError if `model` is no ONNX encoder; `weights` is as in `open_session`.

        `words` is the place of the token table in `weights`, or in `model` without such a file.
        """
        self.name = name
        self.max_tokens = max_tokens
        self._files = (model, weights)
        self._words = words
        self._tokenizer = tokenizer
        self._session = open_session(model, weights)
        self._inputs = [node.name for node in self._session.get_inputs()]
        self.dimension = int(self.encode("dimension").shape[0])

    @cached_property
    def word_vectors(self) -> WordVectors | None:
        """The vectors of its own token table, opened when a head first asks; None if it knows of none.

        Raises RegistryError if the table is not where it should be.
        """
        if self._words is None:
            return None
        model, weights = self._files
        return WordVectors(weights or model, self._words, self._tokenizer, self.max_tokens)

    def encode(self, text: str) -> FloatVector:
        """Return the (dimension,) unit vector of `text`; thread-safe, the same bits every time.

        Raises SpecialistError: "empty input", "input unreadable", or "input too long" beyond
        the token limit. Nothing is truncated.
        """
        tokens = np.array([encode_input(self._tokenizer, text, self.max_tokens).ids], np.int64)
        known: dict[str, NDArray[np.int64]] = {
            "input_ids": tokens,
            "attention_mask": np.ones_like(tokens),
            "token_type_ids": np.zeros_like(tokens),
        }
        output: Any = self._session.run(None, {name: known[name] for name in self._inputs})[0]
        pooled = output[0] if output.ndim == _MATRIX else output[0].mean(axis=0, dtype=np.float32)
        vector: FloatVector = (pooled / np.linalg.norm(pooled)).astype(np.float32, copy=False)
        return vector

    def write_files(self, folder: Path) -> None:
        """Write encoder.onnx, its weights under the name that it knows them by, and tokenizer.json."""
        model, weights = self._files
        (folder / ENCODER_FILE).write_bytes(model.read_bytes())
        if weights:
            (folder / weights.name).write_bytes(weights.read_bytes())
        self._tokenizer.save(str(folder / "tokenizer.json"))

    def write_words(self, folder: Path) -> dict[str, object]:
        """Write what its word vectors need beside those files; return the place of their table in them.

        Raises RegistryError if it has none.
        """
        if self._words is None or self.word_vectors is None:
            raise RegistryError(f"the encoder {self.name} has no word vectors")
        self.word_vectors.write(folder)
        _, weights = self._files
        return {
            "file": weights.name if weights else ENCODER_FILE,
            "offset": self._words.offset,
            "shape": [self._words.rows, self._words.dimension],
        }


def open_session(model: Path, weights: Path | None = None) -> ort.InferenceSession:
    """Return a session of one thread for `model`. Raises RegistryError if it is no ONNX model.

    `weights` is a file with the tensors that the model only names by their place in it.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # No slower here (4.1 ms with and without), and the memory of a long text is given back.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    try:
        source: str | bytes = str(model)
        if weights:
            # Resolved: onnxruntime opens no file outside the folder, as a link would be.
            folder = str(weights.resolve().parent)
            options.add_session_config_entry(_WEIGHTS_FOLDER, folder)
            source = model.read_bytes()
        return ort.InferenceSession(
            source, options, providers=["CPUExecutionProvider"], disabled_optimizers=[_SLOW_FUSION]
        )
    except Exception as exc:
        # onnxruntime has no public tree of errors.
        raise RegistryError(f"{model} is no ONNX model: {exc}") from exc
