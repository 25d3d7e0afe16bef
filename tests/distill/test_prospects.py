"""What an attempt can expect, and what must be audited for it."""

from __future__ import annotations

import random

import msgspec
import numpy as np
import pytest

from gateway.confidence.learn_then_test import THRESHOLDS, certify_threshold
from gateway.confidence.sample_size import audits_to_settle
from gateway.core import RiskTarget
from gateway.distill.base import EvalResult
from gateway.distill.prospects import choose_grid, errors_by_score, predict_coverage, renewal_share
from tests.distill.test_judge import candidate
from tests.distill.test_renewal import audits
from tests.support.builders import certificate

TARGET = RiskTarget(0.02, 0.1)


@pytest.mark.parametrize("losses", [16, 20, 40])
def test_a_renewal_never_needs_more_audits_than_settle_a_certificate(losses: int) -> None:
    """Near alpha the same threshold would need many times as many: a stricter one is renewed."""
    known = certificate(target=TARGET, accepted=1_000, losses=losses, coverage=1.0, evidence_to=86_400.0)
    requests = 1_000 / 0.3 * TARGET.days

    share = renewal_share(known, audits(1_000, 0.9))

    assert share == pytest.approx(audits_to_settle(TARGET.alpha, TARGET.delta) / requests)


def test_a_renewal_of_a_good_specialist_needs_less() -> None:
    good, fair = (
        certificate(target=TARGET, accepted=1_000, losses=losses, coverage=1.0, evidence_to=86_400.0)
        for losses in (2, 12)
    )

    assert renewal_share(good, audits(1_000, 0.9)) < renewal_share(fair, audits(1_000, 0.9))


def answers(chance: random.Random, count: int, bits: int) -> tuple[list[float], list[float]]:
    """Return scores and losses of a student that errs in 12 % of its answers, the surest least.

    A student of 12 bits gives most of its answers a higher score than any fixed threshold.
    """
    ranks = [chance.random() for _ in range(count)]
    losses = [float(chance.random() < 0.36 * rank**2) for rank in ranks]
    return [1.0 - rank * 2.0**-bits for rank in ranks], losses


def test_the_fixed_thresholds_are_kept_where_they_reach() -> None:
    known = candidate(EvalResult(*answers(random.Random(1), 1_000, bits=0)))

    assert choose_grid(known, certificate(target=RiskTarget(0.05)), 1_000, 0.6) is THRESHOLDS


def test_where_they_do_not_reach_the_thresholds_are_those_of_validation() -> None:
    chance = random.Random(2)
    validated, audited = answers(chance, 1_000, bits=12), answers(chance, 1_500, bits=12)
    grid = choose_grid(candidate(EvalResult(*validated)), certificate(target=RiskTarget(0.05)), 1_500, 0.6)

    certified = certify_threshold(*audited, alpha=0.05, delta=0.1, grid=grid)

    assert certify_threshold(*audited, alpha=0.05, delta=0.1) is None
    assert certified is not None
    assert certified.coverage > 0.4


def test_a_certificate_at_thresholds_of_validation_keeps_its_promise() -> None:
    """The true risk above a threshold that accepts the share s is 0.12 s**2."""
    chance, broken = random.Random(3), 0
    for _ in range(200):
        known = candidate(EvalResult(*answers(chance, 300, bits=12)))
        grid = choose_grid(known, certificate(target=RiskTarget(0.05)), 500, 0.6)
        certified = certify_threshold(*answers(chance, 500, bits=12), alpha=0.05, delta=0.1, grid=grid)
        share = (1.0 - certified.threshold) * 2.0**12 if certified else 0.0
        broken += 0.12 * share**2 > 0.05

    assert broken <= 0.1 * 200


def test_without_validation_the_thresholds_are_the_fixed_ones() -> None:
    assert choose_grid(candidate(EvalResult([], [])), certificate(), 100, 0.6) is THRESHOLDS


def test_what_is_left_to_the_teacher_does_not_make_a_version_look_bad() -> None:
    """Once a version serves, its successor is validated on the hard rows; audits are of all kinds."""
    chance = random.Random(3)

    def draw(count: int, *, is_hard: bool) -> EvalResult:
        scores = [chance.random() ** (1.0 if is_hard else 0.1) for _ in range(count)]
        return EvalResult(scores, [float(chance.random() < 0.3 * (1.0 - score)) for score in scores])

    hard, typical = draw(4_000, is_hard=True), draw(4_000, is_hard=False)
    errors = errors_by_score(hard, np.array(typical.scores))

    assert sum(hard.losses) / 4_000 > 0.13
    assert errors.mean() == pytest.approx(sum(typical.losses) / 4_000, abs=0.01)
    assert errors_by_score(EvalResult([], []), np.array([0.5])).tolist() == [1.0]


def test_shares_are_those_of_the_audits_and_losses_those_of_validation() -> None:
    """The losses of the audits (all wrong here) are not looked at."""
    known = candidate(EvalResult([0.99] * 500 + [0.2] * 500, [0.0] * 500 + [1.0] * 500))
    wrong = [msgspec.structs.replace(audit, loss=1.0) for audit in audits(1_000, 0.99)]

    assert predict_coverage(known, certificate(target=TARGET), wrong, 0.6, THRESHOLDS) == 1.0
