"""Two policies that ask one task for another alpha: each is served at a threshold of its own."""

from __future__ import annotations

import msgspec
import numpy as np

from gateway.confidence.judging import select_evidence, try_certificate
from gateway.core import Certificate, Certification, RiskTarget
from loadtests.certificate.base import DELTA, Rate, Row, Setting, percent
from loadtests.certificate.scenarios.slack import draw_units
from loadtests.certificate.students import Answers
from loadtests.certificate.traffic import MOST

ALPHAS = (0.02, 0.05)
UNITS = 4_000


class _Draw(msgspec.Struct, frozen=True, kw_only=True):
    """What each policy is served from one set of audits, in the order of ALPHAS."""

    coverages: list[float]
    are_broken: list[bool]


def run_two_policies(setting: Setting) -> list[Row]:
    """Certify one task for both policies from the same audits."""
    answers = setting.students["banking77"].fresh
    draws = [_draw(answers, chance) for chance in setting.generators("policies")]
    return [_row(number, alpha, draws) for number, alpha in enumerate(ALPHAS)]


def _row(number: int, alpha: float, draws: list[_Draw]) -> Row:
    others = [other for other in range(len(ALPHAS)) if other != number]
    coverages = [draw.coverages[number] for draw in draws]
    broken = Rate.of(draw.are_broken[number] for draw in draws)
    own = Rate.of(all(draw.coverages[number] != draw.coverages[other] for other in others) for draw in draws)
    served = Rate.of(coverage > 0.0 for coverage in coverages)
    return Row(
        scenario=f"two policies on one task, the one that asks {percent(alpha)}",
        bar=f"served in all draws at its own threshold, <= {percent(DELTA)} violated",
        measured=f"served in {served.count}, own threshold in {own.count}, covers "
        f"{float(np.mean(coverages)):.3f}; violated {broken}",
        holds=served.count == own.count == len(draws) and broken.may_be_at_most(DELTA),
        figures={"violated": broken.share, "coverage": float(np.mean(coverages)), "own": own.share},
    )


def _draw(answers: Answers, chance: np.random.Generator) -> _Draw:
    now = float(UNITS)
    audits = draw_units(answers, UNITS, chance)
    certificates = []
    for alpha in ALPHAS:
        asked = Certificate(stratum="new", target=RiskTarget(alpha, DELTA, 30.0))
        issued = try_certificate(select_evidence(audits, asked, now, MOST), asked, now)
        certificates.append(issued or asked)
    certification = Certification(task="task", version=1, certificates=tuple(certificates))
    coverages, are_broken = [], []
    for alpha in ALPHAS:
        # As the gate looks it up: what promises more may serve a policy that asks less.
        served_by = certification.certificate_of("new", RiskTarget(alpha, DELTA, 30.0), now)
        is_served = answers.are_served(served_by or Certificate(stratum="new", target=RiskTarget(alpha)))
        coverages.append(float(is_served.mean()))
        are_broken.append(bool(is_served.any() and answers.losses[is_served].mean() > alpha))
    return _Draw(coverages=coverages, are_broken=are_broken)
