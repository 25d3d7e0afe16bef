"""The p-value of graded losses alone: false passes at the boundary, and power beside Hoeffding-Bentkus."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy.stats import binom

from gateway.confidence.learn_then_test import audits_accepted, p_value
from loadtests.certificate.base import ALPHA, DELTA, Rate, Row, Setting, percent
from loadtests.certificate.students import FloatArray

Shape = Callable[[np.random.Generator, FloatArray], FloatArray]
"""Draws one loss for each of the means."""

AUDITS = (50, 100, 200, 500, 1_000, 2_000)
POWERS = ((150, 0.01), (300, 0.02), (300, 0.028), (1_000, 0.035))
"""Accepted audits, and their mean loss."""
LEVEL = DELTA / 4
"""Of one start's own."""
_SEVERAL = 5
"""Tests per draw: one takes milliseconds."""

_BIOMED = np.array([0.2] * 8 + [1 / 3] * 10 + [0.45] * 7 + [1.0] * 28)
"""The losses above 0 by set F1 among the surest 30 % of a tagger's answers (biomed_ner, 1,734 lessons)."""


def _of_grades(*grades: float) -> Shape:
    """Return a shape with losses of 0 and, equally often, each of `grades`."""
    values = np.array(grades)

    def draw(chance: np.random.Generator, means: FloatArray) -> FloatArray:
        is_lossy = chance.random(len(means)) < means / values.mean()
        return np.where(is_lossy, chance.choice(values, len(means)), 0.0)

    return draw


def _beta(chance: np.random.Generator, means: FloatArray) -> FloatArray:
    return chance.beta(2.0 * means, 2.0 * (1.0 - means))


def _halved(chance: np.random.Generator, means: FloatArray) -> FloatArray:
    """Draw no loss in the first half of the window and twice as much in the second: no independent draws."""
    late = np.arange(len(means)) >= len(means) // 2
    return _SHAPES["as biomed_ner"](chance, np.where(late, 2.0 * means, 0.0))


_SHAPES: Mapping[str, Shape] = {
    "0 or 1": _of_grades(1.0),
    "0 or 0.5": _of_grades(0.5),
    "0 or 0.06": _of_grades(0.06),
    "beta": _beta,
    "as biomed_ner": _of_grades(*_BIOMED.tolist()),
}


def run_p_values(setting: Setting) -> list[Row]:
    """Test one threshold on graded losses of each shape."""
    shapes = {**_SHAPES, "none in the first half of the window": _halved}
    false = [_count_false(setting, name, shape) for name, shape in shapes.items()]
    return false + [_compare_power(setting, name, shape) for name, shape in _SHAPES.items()]


def hoeffding_bentkus(losses: FloatArray, alpha: float) -> float:
    """Return the p-value that graded losses had before. Source: Bates et al. 2021, arXiv 2101.02703."""
    count, mean = len(losses), min(float(losses.mean()), alpha)
    bentkus = np.e * binom.cdf(np.ceil(round(float(losses.sum()), 9)), count, alpha)
    first = mean * np.log(mean / alpha) if mean else 0.0
    divergence = first + (1.0 - mean) * np.log((1.0 - mean) / (1.0 - alpha))
    return float(min(1.0, np.exp(-count * divergence), bentkus))


def _count_false(setting: Setting, name: str, shape: Shape) -> Row:
    """Return how often losses with a mean of alpha pass, over all numbers of audits and at the worst."""
    measured, figures, is_kept = list[str](), dict[str, float](), True
    for level in (DELTA, LEVEL):
        passes = {audits: _false_passes(setting, name, shape, audits, level) for audits in AUDITS}
        everywhere = Rate.of(passed for each in passes.values() for passed in each)
        worst = max(AUDITS, key=lambda audits: sum(passes[audits]))
        measured.append(
            f"at {percent(level, 1)}: {everywhere}, of {worst:,} {percent(Rate.of(passes[worst]).share, 1)}"
        )
        figures |= {f"{level:g}": everywhere.share, f"{level:g} worst": Rate.of(passes[worst]).share}
        is_kept = is_kept and everywhere.may_be_at_most(level)
    return Row(
        scenario=f"graded losses, {name}: mean of alpha passes",
        bar="<= the level",
        measured="; ".join(measured),
        holds=is_kept,
        figures=figures,
    )


def _false_passes(setting: Setting, name: str, shape: Shape, audits: int, level: float) -> list[bool]:
    return [
        _bet(shape(chance, np.full(audits, ALPHA)), level) <= level
        for chance in setting.generators(f"{name} {audits} {level}")
        for _ in range(_SEVERAL)
    ]


def _compare_power(setting: Setting, name: str, shape: Shape) -> Row:
    measured, figures, is_better = list[str](), dict[str, float](), True
    for audits, mean in POWERS:
        drawn = [
            shape(chance, np.full(audits, mean)) for chance in setting.generators(f"{name} {audits} {mean}")
        ]
        bets = Rate.of(_bet(losses, LEVEL) <= LEVEL for losses in drawn)
        before = Rate.of(hoeffding_bentkus(losses, ALPHA) <= LEVEL for losses in drawn)
        measured.append(f"{audits:,} at {percent(mean, 1)}: {percent(bets.share)}, {percent(before.share)}")
        figures |= {f"bets {audits} {mean}": bets.share, f"before {audits} {mean}": before.share}
        is_better = is_better and bets.interval[1] >= before.share
    return Row(
        scenario=f"graded losses, {name}: power at {percent(LEVEL, 1)}, and of Hoeffding-Bentkus",
        bar="no less",
        measured="; ".join(measured),
        holds=is_better,
        figures=figures,
    )


def _bet(losses: FloatArray, level: float) -> float:
    point = audits_accepted([1.0] * len(losses), losses.tolist(), [1.0], is_graded=True)[0]
    return p_value(point, ALPHA, level)
