"""Coverage that a certificate gives away against the threshold that an oracle would choose."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from gateway.confidence.judging import ScoredAudit, select_evidence
from gateway.confidence.learn_then_test import certify_threshold
from gateway.confidence.spending import delta_for_attempt
from gateway.core import Certificate, RiskTarget
from loadtests.certificate.base import DELTA, Row, Setting, percent
from loadtests.certificate.students import Answers
from loadtests.certificate.traffic import MOST, scored_audit

ATTEMPT = 6

_OTHERS = {
    "delta each": DELTA,
    "delta/4 each": DELTA / 4,
    "6/(pi^2 k^2)": DELTA * 6 / (math.pi**2 * ATTEMPT**2),
}
"""Other levels of the sixth attempt: for a certificate that lapses after one attempt, for one that lapses
after four, and for all that were ever issued."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One student, its alpha, the units of evidence, and the most points of coverage that it may lose."""

    student: str
    alpha: float
    units: int
    most_lost: float


CASES = (
    Case(student="gold_headlines", alpha=0.05, units=1_400, most_lost=12.0),
    Case(student="gold_headlines", alpha=0.05, units=4_000, most_lost=7.0),
    Case(student="banking77", alpha=0.02, units=4_000, most_lost=9.0),
)


def run_coverage_lost(setting: Setting) -> list[Row]:
    """Certify at the sixth attempt; compare with the oracle, and with other ways to spend delta."""
    rows = []
    for case in CASES:
        answers = setting.students[case.student].fresh
        oracle = oracle_coverage(answers, case.alpha)
        levels = {"ours": delta_for_attempt(DELTA, ATTEMPT), "attempt 5": delta_for_attempt(DELTA, 5)}
        levels |= _OTHERS
        found = [_coverages(case, answers, levels, chance) for chance in setting.generators(f"{case}")]
        lost = dict(zip(levels, 100 * (oracle - np.mean(found, axis=0)), strict=True))
        ours = lost.pop("ours")
        rows.append(
            Row(
                scenario=f"coverage lost, {case.student} {percent(case.alpha)}, n = {case.units:,}",
                bar=f"<= {case.most_lost:.0f} points",
                measured=f"{ours:.1f}; " + ", ".join(f"{name} {points:.1f}" for name, points in lost.items()),
                holds=bool(ours <= case.most_lost),
                figures={"ours": float(ours), "oracle": oracle, **{k: float(v) for k, v in lost.items()}},
            )
        )
    return rows


def oracle_coverage(answers: Answers, alpha: float) -> float:
    """Return the largest share, the surest first, that errs at most `alpha`."""
    losses = answers.losses[np.argsort(-answers.scores, kind="stable")]
    risks = np.cumsum(losses) / np.arange(1, len(losses) + 1)
    passing = np.flatnonzero(risks <= alpha)
    return float(passing[-1] + 1) / len(losses) if len(passing) else 0.0


def draw_units(answers: Answers, units: int, chance: np.random.Generator) -> list[ScoredAudit]:
    """Return `units` answers, drawn with replacement, each as a text of its own."""
    places = chance.integers(0, len(answers), units).tolist()
    return [
        scored_audit(
            number,
            at=float(number),
            text=number,
            score=float(answers.scores[place]),
            loss=float(answers.losses[place]),
            similarity=float(answers.similarities[place]),
        )
        for number, place in enumerate(places)
    ]


def _coverages(
    case: Case, answers: Answers, levels: dict[str, float], chance: np.random.Generator
) -> list[float]:
    """Return the coverage of all answers at each level, from the same units."""
    asked = Certificate(stratum="new", target=RiskTarget(case.alpha, DELTA, 30.0), attempts=ATTEMPT - 1)
    evidence = select_evidence(draw_units(answers, case.units, chance), asked, float(case.units), MOST)
    floored = msgspec.structs.replace(asked, novelty_floor=evidence.novelty_floor)
    coverages = []
    for level in levels.values():
        passed = certify_threshold(evidence.scores, evidence.losses, case.alpha, level)
        issued = msgspec.structs.replace(floored, threshold=passed.threshold if passed else None)
        coverages.append(float(answers.are_served(issued).mean()))
    return coverages
