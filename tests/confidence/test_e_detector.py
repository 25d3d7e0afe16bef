from __future__ import annotations

import random
import statistics
from collections.abc import Iterator

import pytest

from gateway.confidence.e_detector import EDetector


def run(losses: Iterator[float], alpha: float, limit: float, most: int) -> tuple[int, EDetector]:
    """Return the number of audits until the alarm (at most `most`) and the detector."""
    detector = EDetector(alpha, limit)
    for n in range(1, most + 1):
        if detector.update(next(losses), float(n)):
            return n, detector
    return most, detector


def coins(rng: random.Random, *phases: tuple[int, float]) -> Iterator[float]:
    """Yield 0/1 losses: `phases` are (audits, risk); the last one never ends."""
    for audits, risk in phases:
        for _ in range(audits):
            yield float(rng.random() < risk)
    while True:
        yield float(rng.random() < phases[-1][1])


@pytest.mark.parametrize("risk", [0.05, 0.03])
def test_false_alarms_are_at_least_as_rare_as_promised(risk: float) -> None:
    """At or below alpha the mean time to an alarm is >= the limit. The cut only lowers the mean."""
    rng = random.Random(4)
    times = [run(coins(rng, (1, risk)), 0.05, 200.0, 2000)[0] for _ in range(200)]
    assert statistics.mean(times) >= 200.0


def test_graded_losses_of_mean_alpha_cause_as_few_false_alarms() -> None:
    rng = random.Random(5)
    times = [run(iter(lambda: rng.random() * 0.1, None), 0.05, 200.0, 2000)[0] for _ in range(50)]
    assert statistics.mean(times) >= 200.0


def test_a_drift_from_3_to_15_percent_is_found_within_100_audits() -> None:
    rng = random.Random(6)
    delays = []
    for _ in range(100):
        n, _ = run(coins(rng, (300, 0.03), (1, 0.15)), 0.05, 2000.0, 3000)
        delays.append(n - 300)
    assert statistics.median(delays) <= 100


def test_a_collapse_is_found_within_a_dozen_audits() -> None:
    rng = random.Random(7)
    delays = [run(coins(rng, (300, 0.01), (1, 0.8)), 0.02, 2000.0, 1000)[0] - 300 for _ in range(50)]
    assert 0 < statistics.median(delays) <= 12


def test_the_change_is_dated_near_to_when_it_happened() -> None:
    rng = random.Random(8)
    dates = []
    for _ in range(60):
        _, detector = run(coins(rng, (500, 0.01), (1, 0.4)), 0.05, 2000.0, 3000)
        dates.append(detector.changed_at)
    assert abs(statistics.median(dates) - 500) <= 25


def test_an_alarm_stays() -> None:
    detector = EDetector(0.02)
    for n in range(20):
        detector.update(1.0, float(n))
    assert detector.is_alarmed
    assert detector.update(0.0, 99.0)


@pytest.mark.parametrize("alpha", [0.001, 0.02, 0.3, 0.9])
def test_any_alpha_gives_bets_that_cannot_go_negative(alpha: float) -> None:
    detector = EDetector(alpha)
    assert not any(detector.update(0.0, float(n)) for n in range(2000))
