"""Graded losses, and thresholds from validation scores, for students that err just too often everywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from gateway.confidence.judging import Evidence, try_certificate
from gateway.confidence.learn_then_test import THRESHOLDS
from gateway.core import Certificate
from gateway.distill.prospects import validation_quantiles
from loadtests.certificate.base import DAY_S, DELTA, TARGET, Rate, Row, Setting, percent
from loadtests.certificate.students import FloatArray
from loadtests.certificate.traffic import FORM, RISK_TOO_HIGH, flat_losses, flat_scores

_UNITS = 1_000
_VALIDATED = 500
_GRADES = (1 / 3, 1 / 2, 1.0)
"""What a list of two or three items loses without one of them, or with none of them right; equally often."""
_HIGH = 0.9999
"""A fine-tuned tagger's scores lie above it: no fixed threshold tells them apart."""


def run_graded(setting: Setting) -> list[Row]:
    """Test graded losses at fixed thresholds, and whole and graded ones at thresholds from validation."""
    graded = msgspec.structs.replace(TARGET, agreement="set_f1")
    cases = (
        ("graded losses at the boundary", graded, flat_scores),
        ("the same, thresholds from validation scores", graded, _high_scores),
        ("thresholds from validation scores at the boundary", TARGET, _high_scores),
    )
    rows = []
    for name, target, draw_scores in cases:
        asked = Certificate(stratum="new", target=target)
        rate = Rate.of(_is_fooled(asked, draw_scores, chance) for chance in setting.generators(name))
        rows.append(
            Row(
                scenario=name,
                bar=f"<= {percent(DELTA)} violated",
                measured=str(rate),
                holds=rate.may_be_at_most(DELTA),
                figures={"violated": rate.share},
            )
        )
    return rows


def _is_fooled(
    asked: Certificate,
    draw_scores: Callable[[np.random.Generator, int], FloatArray],
    chance: np.random.Generator,
) -> bool:
    grid: Sequence[float] = THRESHOLDS
    if draw_scores is _high_scores:
        grid = validation_quantiles(draw_scores(chance, _VALIDATED).tolist())
    is_graded = asked.target.agreement != TARGET.agreement
    losses = _graded_losses(chance) if is_graded else flat_losses(chance, _UNITS, RISK_TOO_HIGH)
    evidence = Evidence(
        audits=[],
        scores=draw_scores(chance, _UNITS).tolist(),
        losses=losses.tolist(),
        forms=(FORM,),
        novelty_floor=-1.0,
        starts_at=0.0,
        ends_at=DAY_S,
        propensity=0.3,
    )
    return try_certificate(evidence, asked, DAY_S, grid) is not None


def _high_scores(chance: np.random.Generator, count: int) -> FloatArray:
    return _HIGH + (1.0 - _HIGH) * chance.random(count)


def _graded_losses(chance: np.random.Generator) -> FloatArray:
    """Return losses of the mean RISK_TOO_HIGH, most of them 0."""
    is_lossy = chance.random(_UNITS) < RISK_TOO_HIGH / np.mean(_GRADES)
    return np.where(is_lossy, chance.choice(np.array(_GRADES), _UNITS), 0.0)
