"""Whatever a seed draws, the invariants hold; whatever bug is put in, one of them finds it.

`SIMULATION_SEED=N` replays one run (`--log-cli-level INFO` shows its trace); `SIMULATION_SEEDS=10000` runs
more (`make soak`).
"""

from __future__ import annotations

import logging
import os

import pytest

from tests.simulation.invariants import INVARIANTS, Invariant
from tests.simulation.mutations import MUTATIONS, Mutation
from tests.simulation.world import simulate

logger = logging.getLogger(__name__)

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "300"))
SEEDS_OF_A_TEST = max(25, SEEDS // 100)


def _choose_seeds() -> list[range]:
    if "SIMULATION_SEED" in os.environ:
        seed = int(os.environ["SIMULATION_SEED"])
        return [range(seed, seed + 1)]
    return [range(first, min(first + SEEDS_OF_A_TEST, SEEDS)) for first in range(0, SEEDS, SEEDS_OF_A_TEST)]


@pytest.mark.parametrize("seeds", _choose_seeds(), ids=str)
def test_every_invariant_holds(seeds: range) -> None:
    for seed in seeds:
        history = simulate(seed)
        if len(seeds) == 1:
            logger.info("\n".join(history.trace))
        broken = [f"{each.__name__}: {how}" for each in INVARIANTS for how in each(history)]
        if broken:
            replay = f"SIMULATION_SEED={seed} python -m pytest tests/simulation"
            pytest.fail("\n".join([f"seed {seed}, to be replayed with {replay}", *broken, *history.trace]))


@pytest.mark.parametrize(
    ("mutation", "invariant"), MUTATIONS, ids=[mutation.__name__ for mutation, _ in MUTATIONS]
)
def test_a_bug_is_found_within_the_seeds_of_ci(mutation: Mutation, invariant: Invariant) -> None:
    """So no invariant is one that nothing could break."""
    with mutation():
        assert any(True for seed in range(300) for _ in invariant(simulate(seed)))


def test_every_invariant_has_its_bug() -> None:
    assert {invariant for _, invariant in MUTATIONS} == set(INVARIANTS)


@pytest.mark.parametrize("seed", range(4))
def test_a_seed_is_replayed_exactly(seed: int) -> None:
    assert simulate(seed).trace == simulate(seed).trace
