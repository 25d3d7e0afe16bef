"""Texts that return for hours and then never: they must not vouch for new ones."""

from __future__ import annotations

from collections import defaultdict

import msgspec
import numpy as np

from gateway.confidence.judging import ScoredAudit
from gateway.core import Stratum
from loadtests.certificate.base import ALPHA, DAY_S, DELTA, Rate, Row, Setting, percent
from loadtests.certificate.students import Student
from loadtests.certificate.traffic import Coin, attempt, scored_audit

SHARES = (0.05, 0.1, 0.3, 1.0)
TEXTS = 3_000
"""Distinct texts of the first day."""
COVERAGE_AT_30 = 0.60

_TIMES, _WITHIN_S = 3, 3 * 3_600.0


class _Draw(msgspec.Struct, frozen=True, kw_only=True):
    is_issued: bool
    is_broken: bool
    coverage: float
    learnt_is_issued: bool


def run_returning_texts(setting: Setting) -> list[Row]:
    """Certify on a day of traffic with returning texts; check on the texts of the next day."""
    student = setting.students["gold_headlines"]
    draws = {
        share: [_draw(student, share, chance) for chance in setting.generators(f"returning {share}")]
        for share in SHARES
    }
    violations = [_violations(share, found) for share, found in draws.items()]
    return [*violations, _coverage(draws[0.3]), _learnt(draws[1.0])]


def _learnt(draws: list[_Draw]) -> Row:
    learnt = Rate.of(draw.learnt_is_issued for draw in draws)
    holds = learnt.count == learnt.draws
    return Row(
        scenario="the same, stratum learnt at 100 %",
        bar="certified in all draws",
        measured=str(learnt),
        holds=holds,
        figures={"certified": learnt.share},
    )


def _violations(share: float, draws: list[_Draw]) -> Row:
    rate = Rate.of(draw.is_broken for draw in draws)
    issued = sum(draw.is_issued for draw in draws)
    coverage = float(np.mean([draw.coverage for draw in draws]))
    return Row(
        scenario=f"texts asked {_TIMES}x within 3 h, {percent(share)} returning",
        bar=f"<= {percent(DELTA)} violated",
        measured=f"{rate}, issued in {issued}",
        holds=rate.may_be_at_most(DELTA),
        figures={"violated": rate.share, "issued": issued, "coverage": coverage},
    )


def _coverage(draws: list[_Draw]) -> Row:
    mean = float(np.mean([draw.coverage for draw in draws]))
    return Row(
        scenario="the same, next-day coverage at 30 %",
        bar=f">= {COVERAGE_AT_30:.2f}",
        measured=f"mean {mean:.3f}",
        holds=mean >= COVERAGE_AT_30,
        figures={"coverage": mean},
    )


def _draw(student: Student, share: float, chance: np.random.Generator) -> _Draw:
    order = chance.permutation(len(student.fresh))
    today, tomorrow = order[: min(TEXTS, len(order) // 2)], order[min(TEXTS, len(order) // 2) :]
    audits = _audits_of_day(student, today, share, chance)
    new, learnt = (attempt(audits[stratum], stratum, DAY_S) for stratum in ("new", "learnt"))
    served = np.zeros(len(tomorrow), bool) if new is None else student.fresh.are_served(new)[tomorrow]
    risk = student.fresh.losses[tomorrow][served].mean() if served.any() else 0.0
    return _Draw(
        is_issued=new is not None,
        is_broken=bool(risk > ALPHA),
        coverage=float(served.mean()),
        learnt_is_issued=learnt is not None,
    )


def _audits_of_day(
    student: Student, texts: np.ndarray, share: float, chance: np.random.Generator
) -> dict[Stratum, list[ScoredAudit]]:
    """Return the held-out requests of a day by stratum: what was not held out has been learnt by its end."""
    coin = Coin(chance)
    requests = _requests_of_day(texts, share, chance)
    is_held_out = [coin.sample(text, at)[0] for at, text in requests]
    lessons = {text for (_, text), is_out in zip(requests, is_held_out, strict=True) if not is_out}
    audits: dict[Stratum, list[ScoredAudit]] = defaultdict(list)
    for number, ((at, text), is_out) in enumerate(zip(requests, is_held_out, strict=True)):
        if not is_out:
            continue
        # A learnt text is answered as the student answers one of those that it really has learnt.
        is_learnt = text in lessons
        pool, place = (student.learnt, text % len(student.learnt)) if is_learnt else (student.fresh, text)
        audits["learnt" if is_learnt else "new"].append(
            scored_audit(
                number,
                at=at,
                text=text,
                score=float(pool.scores[place]),
                loss=float(pool.losses[place]),
                similarity=float(pool.similarities[place]),
            )
        )
    return audits


def _requests_of_day(texts: np.ndarray, share: float, chance: np.random.Generator) -> list[tuple[float, int]]:
    """Return (time, text) of each request, in the order of time."""
    firsts = chance.random(len(texts)) * (DAY_S - _WITHIN_S)
    returns = chance.random(len(texts)) < share
    requests = []
    for text, first, is_returning in zip(texts.tolist(), firsts.tolist(), returns.tolist(), strict=True):
        again = chance.random(_TIMES - 1) * _WITHIN_S if is_returning else ()
        requests += [(first, text), *((first + float(later), text) for later in again)]
    return sorted(requests)
