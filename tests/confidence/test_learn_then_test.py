from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence

import pytest

from gateway.confidence.learn_then_test import (
    THRESHOLDS,
    AcceptedAudits,
    audits_accepted,
    certify_threshold,
    p_value,
    reject_hypotheses,
)

Risk = Callable[[float], float]
"""P(loss | score)."""

DRAWS = 400


def draw(rng: random.Random, audits: int, risk: Risk) -> tuple[list[float], list[float]]:
    scores = [rng.random() for _ in range(audits)]
    return scores, [float(rng.random() < risk(score)) for score in scores]


def risk_above(threshold: float, risk: Risk) -> float:
    """Return the mean of `risk` over scores uniform in threshold..1."""
    steps = 2000
    points = (threshold + (1 - threshold) * (i + 0.5) / steps for i in range(steps))
    return sum(risk(score) for score in points) / steps


def violations(threshold_of: Callable[..., float | None], risk: Risk, alpha: float) -> float:
    """Return the share of draws with a threshold of a true risk above `alpha`."""
    rng = random.Random(7)
    thresholds = [threshold_of(*draw(rng, 600, risk)) for _ in range(DRAWS)]
    counts = {threshold: thresholds.count(threshold) for threshold in set(thresholds)}
    broken = [n for t, n in counts.items() if t is not None and risk_above(t, risk) > alpha]
    return sum(broken) / DRAWS


def certified_threshold(
    scores: Sequence[float], losses: Sequence[float], alpha: float = 0.05, delta: float = 0.1
) -> float | None:
    certified = certify_threshold(scores, losses, alpha, delta)
    return certified.threshold if certified else None


def naive_threshold(scores: Sequence[float], losses: Sequence[float], alpha: float = 0.05) -> float | None:
    """Return the loosest threshold with a mean loss of at most `alpha` on the audits."""
    points = audits_accepted(scores, losses, THRESHOLDS)
    return min((p.threshold for p in points if p.count and p.losses / p.count <= alpha), default=None)


def honest(score: float) -> float:
    return 0.3 * math.pow(1 - score, 1.2)


def steep(score: float) -> float:
    return 0.01 if score > 0.6 else 0.4


def bumpy(score: float) -> float:
    return 0.15 if 0.8 < score < 0.9 else 0.03


def hopeless(score: float) -> float:
    return 0.0501


RISKS = [honest, steep, bumpy, hopeless]


@pytest.mark.parametrize("risk", RISKS)
def test_a_certificate_is_broken_in_at_most_delta_of_all_draws(risk: Risk) -> None:
    """The margin is two standard errors of 400 draws."""
    margin = 2 * math.sqrt(0.1 * 0.9 / DRAWS)
    assert violations(certified_threshold, risk, alpha=0.05) <= 0.1 + margin


@pytest.mark.parametrize("risk", [honest, hopeless])
def test_a_threshold_at_the_point_estimate_breaks_its_target_far_more_often(risk: Risk) -> None:
    """The difference that certificates exist for."""
    assert violations(naive_threshold, risk, alpha=0.05) > 0.3


def test_a_certificate_covers_nearly_all_drafts_that_may_be_served() -> None:
    """2,000 audits find four fifths of the coverage that knowledge of the risk would give."""
    scores, losses = draw(random.Random(3), 2000, steep)

    certified = certify_threshold(scores, losses, 0.05, 0.1)

    assert certified is not None
    best = next(t for t in sorted(THRESHOLDS) if risk_above(t, steep) <= 0.05)
    assert certified.coverage >= 0.8 * (1 - best)


def test_nothing_is_certified_without_enough_evidence() -> None:
    assert certify_threshold([], [], 0.05, 0.1) is None
    assert certify_threshold([0.99999] * 20, [0.0] * 20, 0.05, 0.1) is None


def test_the_certificate_reports_its_accepted_audits() -> None:
    certified = certify_threshold([0.9] * 300 + [0.1] * 100, [0.0] * 299 + [1.0] * 101, 0.05, 0.1)

    assert certified is not None
    assert (certified.accepted, certified.losses, certified.coverage) == (300, 1.0, 0.75)
    assert 0.1 < certified.threshold <= 0.9


def test_a_score_at_the_threshold_is_accepted() -> None:
    points = audits_accepted([0.5, 0.4], [0.0, 1.0], [0.5, 0.4])
    assert [(point.count, point.losses) for point in points] == [(1, 0.0), (2, 1.0)]


def test_the_grid_does_not_depend_on_the_audits() -> None:
    assert list(THRESHOLDS) == sorted(THRESHOLDS, reverse=True)
    assert THRESHOLDS[0] == pytest.approx(1 / (1 + math.exp(-5)))
    assert THRESHOLDS[-1] == pytest.approx(1 / (1 + math.exp(1)))


def reference_fallback(p_values: Sequence[float], weights: Sequence[float]) -> list[bool]:
    """Wiens' procedure as published: a level is its own weight plus the level of a rejected predecessor."""
    decisions: list[bool] = []
    levels: list[float] = []
    for i, p in enumerate(p_values):
        inherited = levels[i - 1] if i and decisions[i - 1] else 0.0
        levels.append(weights[i] + inherited)
        decisions.append(levels[i] > 0 and p <= levels[i])
    return decisions


def test_the_fallback_procedure_is_the_published_one() -> None:
    rng = random.Random(1)
    for _ in range(500):
        p_values = [rng.choice([0.0, 0.02, 0.03, 0.06, 0.2]) for _ in range(8)]
        weights = [0.05, 0, 0, 0, 0.05, 0, 0, 0]
        assert reject_hypotheses(p_values, 0.1, starts=2) == reference_fallback(p_values, weights)


def separate_chains(p_values: Sequence[float], delta: float, starts: int) -> set[int]:
    found: set[int] = set()
    for start in range(starts):
        for i in range(start * len(p_values) // starts, len(p_values)):
            if p_values[i] > delta / starts:
                break
            found.add(i)
    return found


def test_the_fallback_procedure_rejects_more_than_separate_chains() -> None:
    rng = random.Random(2)
    gained = 0
    for _ in range(500):
        p_values = [rng.choice([0.0, 0.02, 0.04, 0.08, 0.3]) for _ in range(8)]
        mine = {i for i, is_rejected in enumerate(reject_hypotheses(p_values, 0.1, starts=4)) if is_rejected}
        theirs = separate_chains(p_values, 0.1, starts=4)
        assert theirs <= mine
        gained += len(mine - theirs)
    assert gained > 50


def every_outcome(audits: int, cells: int) -> Iterator[tuple[int, ...]]:
    """Yield every way to spread `audits` over `cells`."""
    for bars in itertools.combinations(range(audits + cells - 1), cells - 1):
        edges = (-1, *bars, audits + cells - 1)
        yield tuple(b - a - 1 for a, b in itertools.pairwise(edges))


def family_wise_error(bins: Sequence[tuple[float, float]], audits: int, alpha: float, delta: float) -> float:
    """Return the exact probability that any threshold of too high a risk is rejected.

    `bins` are (probability, risk) of score bins, strict to loose; every possible sample of
    `audits` is enumerated with its multinomial probability.
    """
    cells = [p for weight, risk in bins for p in (weight * (1 - risk), weight * risk)]
    risks = [
        sum(w * r for w, r in bins[: i + 1]) / sum(w for w, _ in bins[: i + 1]) for i in range(len(bins))
    ]
    total = 0.0
    for counts in every_outcome(audits, len(cells)):
        points = []
        for i in range(len(bins)):
            accepted, wrong = sum(counts[: 2 * i + 2]), sum(counts[1 : 2 * i + 2 : 2])
            points.append(AcceptedAudits(0.0, accepted, float(wrong)))
        decisions = reject_hypotheses([p_value(point, alpha, delta / 2) for point in points], delta, starts=2)
        if any(is_rejected and risk > alpha for is_rejected, risk in zip(decisions, risks, strict=True)):
            ways = float(math.factorial(audits))
            for count, p in zip(counts, cells, strict=True):
                ways = ways / math.factorial(count) * p**count
            total += ways
    return total


@pytest.mark.parametrize(
    "bins",
    [
        [(0.4, 0.31), (0.3, 0.31), (0.3, 0.31)],
        [(0.4, 0.05), (0.3, 0.70), (0.3, 0.31)],
        [(0.2, 0.31), (0.5, 0.02), (0.3, 0.99)],
        [(0.5, 0.01), (0.2, 0.99), (0.3, 0.40)],
    ],
)
def test_the_family_wise_error_is_at_most_delta_in_every_enumerated_case(
    bins: list[tuple[float, float]],
) -> None:
    assert family_wise_error(bins, audits=12, alpha=0.3, delta=0.2) <= 0.2


def test_graded_losses_are_certified_validly() -> None:
    """Losses of 0, 0.5 and 1 with a mean just above alpha pass in at most delta of the draws."""
    rng = random.Random(5)
    passed = 0
    for _ in range(DRAWS):
        losses = [rng.choices([0.0, 0.5, 1.0], [0.85, 0.098, 0.052])[0] for _ in range(200)]
        passed += certify_threshold([0.9] * 200, losses, alpha=0.1, delta=0.1) is not None
    assert passed / DRAWS <= 0.1


def test_graded_losses_well_below_alpha_are_certified() -> None:
    losses = [0.1] * 400
    assert certify_threshold([0.9] * 400, losses, alpha=0.2, delta=0.1) is not None


def test_losses_that_happen_to_be_whole_pass_about_as_often_by_either_p_value() -> None:
    rng = random.Random(9)
    passed = {False: 0, True: 0}
    for _ in range(DRAWS):
        losses = [float(rng.random() < 0.02) for _ in range(200)]
        for is_graded in passed:
            point = audits_accepted([0.9] * 200, losses, [0.5], is_graded=is_graded)[0]
            passed[is_graded] += p_value(point, 0.05, 0.05) <= 0.05
    assert 0.8 * passed[False] <= passed[True] <= 1.1 * passed[False]


def test_which_p_value_is_taken_does_not_depend_on_the_losses_seen() -> None:
    """Graded losses that all happen to be whole still take the bound for graded ones."""
    binary, graded = (
        audits_accepted([0.9] * 200, [0.0] * 197 + [1.0] * 3, [0.5], is_graded=is_graded)[0]
        for is_graded in (False, True)
    )

    assert p_value(binary, 0.05, 1e-4) < p_value(graded, 0.05, 1e-4)
