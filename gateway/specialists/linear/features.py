"""Features of a text for a linear head: its embedding beside its hashed words and word pairs.

The recipe that trains a head and the runtime that serves it both call this module, so that
they cannot differ. The feature matrix of a head has `feature_width(dimension)` columns: first
the weighted embedding, then `HASHED_BINS` columns of hashed n-grams. `Features` holds the few
of these that are not zero.
"""

from __future__ import annotations

import itertools
import math
import re
import zlib
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from gateway.specialists.knn import FloatVector

IndexVector = NDArray[np.int32]

HASHED_BINS = 2**14

# Measured together: CLINC150 covered at 2 % error .90 -> .93, SNIPS .93 -> .98, compared
# with the embedding alone.
EMBEDDING_WEIGHT = np.float32(3.0)
HASHED_WEIGHT = 2.0

_WORD = re.compile(r"\w+")
_SIGN_BIT = 1 << 31


class Features(msgspec.Struct, frozen=True):
    """One text's row of the feature matrix, weights included.

    `dense` is (dimension,); `values` is (n,) and belongs into the columns
    `dimension + indices`. Indices are unique and in the order of first occurrence; n is 0
    for a text without words.
    """

    dense: FloatVector
    indices: IndexVector
    values: FloatVector


def feature_width(dimension: int) -> int:
    """Return the number of columns for an encoder of `dimension`."""
    return dimension + HASHED_BINS


def build_features(text: str, embedding: FloatVector) -> Features:
    """Return the features of `text`; `embedding` is its unit vector, Encoder.encode(text)."""
    indices, values = hash_ngrams(text)
    return Features(embedding * EMBEDDING_WEIGHT, indices, values)


def hash_ngrams(text: str) -> tuple[IndexVector, FloatVector]:
    """Return the bins and values of the words and word pairs of `text`, of norm HASHED_WEIGHT."""
    return fold_codes(ngram_codes(text))


def ngram_codes(text: str) -> list[int]:
    """Return the hash of each word, then of each word pair of `text`, in its order.

    Words are runs of letters, digits and underscores, lower-cased. The hash is CRC-32 of
    the UTF-8 bytes (the same in every process and version): low bits the bin, top bit the sign.
    """
    words = _WORD.findall(text.lower())
    grams = (*words, *map(" ".join, itertools.pairwise(words)))
    return [zlib.crc32(gram.encode("utf-8", "surrogatepass")) for gram in grams]


def fold_codes(codes: Sequence[int]) -> tuple[IndexVector, FloatVector]:
    """Return the bins and values of n-grams with these `codes`; the values have norm HASHED_WEIGHT."""
    bins: dict[int, int] = {}
    for code in codes:
        index = code % HASHED_BINS
        bins[index] = bins.get(index, 0) + (-1 if code & _SIGN_BIT else 1)
    counts = {index: count for index, count in bins.items() if count}
    scale = HASHED_WEIGHT / math.sqrt(sum(count * count for count in counts.values()) or 1)
    return (
        np.fromiter(counts.keys(), np.int32, len(counts)),
        np.fromiter((count * scale for count in counts.values()), np.float32, len(counts)),
    )
