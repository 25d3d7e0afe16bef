"""The texts that a version has learnt, as hashes: a population with a certificate of its own."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path

import numpy as np

from gateway.core import hash_text
from gateway.errors import RegistryError
from gateway.specialists.linear.arrays import read_array

FILE = "learnt.npy"


class LearntTexts:
    """A set of texts, known by their hashes: 8 bytes each in memory, too, where a set would take 70."""

    def __init__(self, hashes: Iterable[int] = ()) -> None:
        self._hashes = array("Q", sorted(set(hashes)))

    def __contains__(self, text: str) -> bool:
        return find_hash(self._hashes, hash_text(text)) is not None

    def __iter__(self) -> Iterator[int]:
        return iter(self._hashes)

    def __len__(self) -> int:
        return len(self._hashes)


def find_hash(hashes: array[int], wanted: int) -> int | None:
    """Return the place of a hash in ascending `hashes`, None if it is not there; about 1 us."""
    place = bisect_left(hashes, wanted)
    return place if place < len(hashes) and hashes[place] == wanted else None


def hash_exactly(text: str) -> bytes:
    """Return 8 bytes of the hash of `text` as it is written; what was learnt is known by what it means."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def write_learnt_texts(texts: Iterable[str], folder: Path, known: Iterable[int] = ()) -> None:
    """Write the hashes of `texts`, and those that are `known` already, into `folder`, 8 bytes each."""
    hashes = sorted({*known, *map(hash_text, texts)})
    np.save(folder / FILE, np.array(hashes, np.uint64))


def read_learnt_texts(folder: Path) -> LearntTexts:
    """Return what a version has learnt; nothing if its folder does not say. Raises RegistryError."""
    path = folder / FILE
    if not path.exists():
        return LearntTexts()
    hashes = read_array(path)
    if hashes.ndim != 1 or hashes.dtype != np.uint64:
        raise RegistryError(f"{path} does not hold hashes of texts: train the version again")
    return LearntTexts(hashes.tolist())
