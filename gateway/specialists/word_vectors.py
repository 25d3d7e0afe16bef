"""A text as the weighted mean of its tokens in the encoder's own table: 40 us, without the encoder."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from gateway.errors import RegistryError
from gateway.specialists.knn import FloatVector
from gateway.specialists.tokenization import encode_input

FILE = "words.npz"

_ROWS_AT_ONCE = 1_024


class WordTable(msgspec.Struct, frozen=True, kw_only=True):
    """The place of an encoder's token table in its file: int8 (rows, dimension), a float32 scale per row.

    The vocabulary is ordered by frequency from the row `first_word` on; what stands before it, special
    tokens above all, says nothing about a text.
    """

    offset: int
    scales_offset: int
    rows: int
    dimension: int
    first_word: int


class WordVectors:
    """Text to the unit vector of its rarer words."""

    def __init__(self, file: Path, table: WordTable, tokenizer: Tokenizer, max_tokens: int) -> None:
        """Map the table in `file`: processes share its pages. Raises RegistryError if it is too short."""
        shape = (table.rows, table.dimension)
        try:
            mapped = np.memmap(file, np.int8, "r", table.offset, shape)
            scales = np.fromfile(file, np.float32, table.rows, offset=table.scales_offset)
        except (OSError, ValueError) as exc:
            raise RegistryError(f"{file} holds no table of {shape} words: {exc}") from exc
        # An array: a memmap makes one of its own class of every row that is taken.
        self._rows: NDArray[np.int8] = np.asarray(mapped)
        self._center = _mean(self._rows, scales)
        ranks = np.maximum(np.arange(table.rows) - table.first_word + 1, 0)
        self._rarity = np.log1p(ranks).astype(np.float32)
        self._weights: FloatVector = self._rarity * scales
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self.dimension = table.dimension

    def encode(self, text: str) -> FloatVector:
        """Return the (dimension,) unit vector of `text`, zeros if it has no word; thread-safe.

        Raises SpecialistError for the texts that the encoder refuses, as it does.
        """
        ids = encode_input(self._tokenizer, text, self._max_tokens).ids
        total = self._weights[ids] @ self._rows[ids].astype(np.float32)
        total -= self._rarity[ids].sum() * self._center
        vector: FloatVector = total / (np.sqrt(total @ total) or np.float32(1))
        return vector

    def write(self, folder: Path) -> None:
        """Write what `encode` needs beside the table and the tokenizer into `folder`."""
        np.savez(folder / FILE, weights=self._weights, rarity=self._rarity, center=self._center)


def _mean(rows: NDArray[np.int8], scales: FloatVector) -> FloatVector:
    # In parts: whole, the table would take 47 MB as float32.
    total = np.zeros(rows.shape[1], np.float32)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        total += scales[part] @ rows[part].astype(np.float32)
    mean: FloatVector = total / np.float32(len(rows))
    return mean
