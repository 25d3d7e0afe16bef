from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gateway.errors import RegistryError
from gateway.specialists import knn
from gateway.specialists.knn import MAX_NEIGHBORS

UNIT = np.eye(4, dtype=np.float32)


def test_similarity_is_the_cosine_to_the_nearest(tmp_path: Path) -> None:
    knn.write_neighbors(UNIT[:2], tmp_path)

    neighbors = knn.read_neighbors(tmp_path, 4)

    assert neighbors.similarity(UNIT[1]) == pytest.approx(1.0)
    assert neighbors.similarity(np.array([0.6, 0.0, 0.8, 0.0], np.float32)) == pytest.approx(0.6, abs=1e-3)
    assert neighbors.similarity(-UNIT[0]) == pytest.approx(0.0)


def test_no_more_than_the_maximum_is_written(tmp_path: Path) -> None:
    knn.write_neighbors(np.tile(UNIT, (MAX_NEIGHBORS // 2, 1)), tmp_path)

    assert np.load(tmp_path / knn.FILE).shape == (MAX_NEIGHBORS, 4)


def test_a_sample_is_drawn_by_its_seed_and_keeps_its_order() -> None:
    vectors = [np.full(2, n, np.float32) for n in range(MAX_NEIGHBORS + 100)]

    chosen = [knn.sample_neighbors(vectors, seed)[:, 0].tolist() for seed in (1, 1, 2)]

    assert chosen[0] == chosen[1] != chosen[2]
    assert chosen[0] == sorted(set(chosen[0]))
    assert len(chosen[0]) == MAX_NEIGHBORS


def test_few_vectors_are_all_taken() -> None:
    vectors = [np.full(2, n, np.float32) for n in range(3)]
    assert knn.sample_neighbors(vectors, 0).tolist() == [[0, 0], [1, 1], [2, 2]]


def _saved(array: object) -> Callable[[Path], None]:
    return lambda path: np.save(path, np.asarray(array), allow_pickle=True)


def _cut(path: Path) -> None:
    np.save(path, UNIT)
    path.write_bytes(path.read_bytes()[:-8])


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda path: None, "is unreadable"),
        (lambda path: path.write_bytes(b""), "is unreadable"),
        (lambda path: path.write_bytes(b"junk"), "is unreadable"),
        (_cut, "is unreadable"),
        (_saved(np.array([{}, {}], dtype=object)), "is unreadable"),
        (_saved(["a", "b"]), "is unreadable"),
        (_saved(np.zeros((2, 3))), "at least one 4-d vector"),
        (_saved(np.zeros((0, 4))), "at least one 4-d vector"),
        (_saved(np.zeros(4)), "at least one 4-d vector"),
        (_saved(np.zeros((1, 2, 4))), "at least one 4-d vector"),
        (_saved([[0.5, np.nan, 0.5, 0.5]]), "not finite"),
    ],
)
def test_files_that_cannot_be_used_are_named(
    tmp_path: Path, damage: Callable[[Path], object], named: str
) -> None:
    damage(tmp_path / knn.FILE)

    with pytest.raises(RegistryError, match=rf"neighbors\.npy.*{named}"):
        knn.read_neighbors(tmp_path, 4)
