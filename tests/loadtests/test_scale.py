"""The queueing model of a fleet, against what was measured and what theory says."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path

import msgspec
import pytest

from loadtests.scale.costs import Cost, Costs, read_costs
from loadtests.scale.model import (
    Piece,
    Saturated,
    describe_queue,
    find_utilization,
    predict_latency_ms,
    predict_saturated,
)
from loadtests.scale.plan import Workload, plan_fleet

COSTS = read_costs()


def test_two_workers_are_predicted_from_one_within_a_quarter() -> None:
    """One run of `loadtests.peers` on two quiet cores: 4,332 requests per second, then 5,597."""
    one = Saturated(per_s=4_332, worker_us=237, load_us=35, idle_cores=0.85)

    predicted = predict_saturated(one, 2, cores=2, shared_cache=COSTS.shared_cache.value)

    assert predicted == pytest.approx(5_597, rel=0.25)


def test_the_prediction_for_one_worker_is_what_it_did() -> None:
    for per_s, idle in ((4_000, 0.8), (1_500, 0.0)):
        one = Saturated(per_s=per_s, worker_us=250, load_us=50, idle_cores=idle)
        assert predict_saturated(one, 1, cores=2, shared_cache=1.2) == pytest.approx(per_s, rel=1e-6)


def test_with_cores_for_all_twice_the_workers_do_twice_as_much() -> None:
    one = Saturated(per_s=4_000, worker_us=250, load_us=25, idle_cores=6.9)

    assert predict_saturated(one, 2, cores=8, shared_cache=1.0) == pytest.approx(8_000)


def test_other_work_takes_its_share_of_what_two_workers_get() -> None:
    """One worker that got half a core on a full machine: three others want what is left."""
    one = Saturated(per_s=2_000, worker_us=250, load_us=0.0, idle_cores=0.0)

    # Two of five processes on two cores, each with two fifths of a core.
    assert predict_saturated(one, 2, cores=2, shared_cache=1.0) == pytest.approx(2 * 0.4 / 250e-6)


def test_latency_follows_throughput_by_littles_law() -> None:
    assert predict_latency_ms(20.0, 1_000.0, 2_000.0) == 10.0


def test_waits_are_those_of_a_simulated_queue() -> None:
    pieces = [Piece(400.0, 1e-3), Piece(100.0, 2e-3)]
    waits = simulate_waits(pieces, count=200_000)

    queue = describe_queue(pieces)

    assert queue.utilization == pytest.approx(0.6)
    assert queue.mean_wait_s == pytest.approx(sum(waits) / len(waits), rel=0.05)
    assert queue.wait_s(0.99) == pytest.approx(waits[int(0.99 * len(waits))], rel=0.1)


def test_a_worker_with_more_than_it_can_do_waits_for_ever() -> None:
    assert describe_queue([Piece(1_001.0, 1e-3)]).wait_s(0.5) == math.inf


def test_the_utilization_that_is_found_is_the_highest_within_the_limit() -> None:
    pieces = [Piece(1.0, 1e-3)]
    found = find_utilization(pieces, 5e-3, most=0.95)

    assert describe_queue([Piece(found * 1e3, 1e-3)]).wait_s(0.99) == pytest.approx(5e-3, rel=1e-3)
    assert find_utilization(pieces, 1.0, most=0.6) == pytest.approx(0.6)


@pytest.mark.parametrize("rate", [10.0, 1_000.0, 10_000.0])
@pytest.mark.parametrize("local", [0.0, 0.7, 0.99])
def test_a_fleet_does_its_rate_with_a_replica_away(rate: float, local: float) -> None:
    workload = Workload(local=local)
    plan = plan_fleet(rate, workload, COSTS)

    assert plan.replicas >= 2
    assert plan.busy <= 0.6
    assert plan.wait_p99_ms <= workload.wait_p99_ms * 1.001
    host_s = local * (0.8 * COSTS.local_host_us.value + 0.2 * COSTS.learnt_host_us.value) / 1e6
    assert rate * host_s / (plan.replicas - 1) <= 0.6


def test_one_machine_needs_no_valkey() -> None:
    plan = plan_fleet(10.0, Workload(), COSTS, spare=False)

    assert (plan.replicas, plan.valkey_commands_per_s, plan.valkey_busy) == (1, 0.0, 0.0)


def test_more_requests_never_take_less() -> None:
    plans = [plan_fleet(float(rate), Workload(), COSTS) for rate in range(100, 5_000, 100)]

    for less, more in itertools.pairwise(plans):
        assert more.cores >= less.cores
        assert more.storage_gb_per_day > less.storage_gb_per_day
        assert more.machines_usd >= less.machines_usd


def test_answers_of_specialists_cost_the_teacher_nothing() -> None:
    plan = plan_fleet(100.0, Workload(local=0.75), COSTS)

    assert plan.teacher_usd == pytest.approx(plan.teacher_only_usd / 4)


def test_every_cost_names_the_module_that_measures_it() -> None:
    for name in Costs.__struct_fields__:
        cost: Cost = getattr(COSTS, name)
        module = cost.command.split()[2].removeprefix("loadtests.")
        assert cost.value > 0, name
        folder = Path(__file__).parents[2] / "loadtests"
        assert (folder / f"{module}.py").exists() or (folder / module).is_dir(), name


def test_an_unknown_cost_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "costs.toml"
    file.write_text('[escalated_ms]\nvalue = 1\nwhat = ""\ncommand = ""\n')

    with pytest.raises(msgspec.ValidationError):
        read_costs(file)


def simulate_waits(pieces: list[Piece], *, count: int) -> list[float]:
    """Return the waits of pieces that come at random to one server, in order of length (Lindley 1952)."""
    draw = random.Random(1)
    rate = sum(piece.per_s for piece in pieces)
    weights = [piece.per_s for piece in pieces]
    wait, waits = 0.0, []
    for piece in draw.choices(pieces, weights, k=count):
        waits.append(wait)
        wait = max(0.0, wait + piece.service_s - draw.expovariate(rate))
    return sorted(waits)
