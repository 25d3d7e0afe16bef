"""What imported rows taught, looked at as audits come, at the boundary: each certificate it gets is false."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import cast

import numpy as np
from numpy.random import Generator

from gateway.confidence.judging import ScoredAudit
from gateway.core import Certification
from gateway.distill.base import Config, EvalResult
from gateway.distill.imported import CONFIRM_EVERY
from gateway.distill.judge import Judge
from gateway.distill.prospects import Candidate
from gateway.distill.scored_audits import ScoredAudits
from gateway.specialists.base import Runtime
from gateway.specialists.learnt import LearntTexts
from loadtests.certificate.base import DELTA, TARGET, Rate, Row, Setting, percent
from loadtests.certificate.scenarios.guards import CALLERS, FORMS
from loadtests.certificate.students import FloatArray
from loadtests.certificate.traffic import FORM, RISK_TOO_HIGH, scored_audit

_AUDITS = 900
"""By then every hypothesis is confirmed, refuted or given up."""
_APART_S = 10.0
_STRANGE = 0.02
"""Share of the texts that are less similar to a lesson than the novelty floor may be."""
_VALIDATED = 400

Risk = Callable[[FloatArray], FloatArray]
"""How often answers to texts of these similarities are wrong; above any similarity at least RISK_TOO_HIGH."""


def run_confirmations(setting: Setting) -> list[Row]:
    """Look at one hypothesis every ten audits until it is decided."""
    cases: dict[str, tuple[Risk, bool]] = {
        "strange texts err alike": (_alike, False),
        "strange texts never err": (_never, False),
        "strange texts err ten times as often": (_often, False),
        "callers of 80/15/5 %, rare forms": (_alike, True),
    }
    return [_count_false(setting, name, *case) for name, case in cases.items()]


def _count_false(setting: Setting, name: str, risk: Risk, is_mixed: bool) -> Row:
    found = [_is_confirmed(_draw(chance, risk, is_mixed)) for chance in setting.generators(f"confirm {name}")]
    false = Rate.of(found)
    return Row(
        scenario=f"one hypothesis looked at every {CONFIRM_EVERY} audits, {name}",
        bar=f"<= {percent(DELTA)} confirmed falsely",
        measured=str(false),
        holds=false.may_be_at_most(DELTA),
        figures={"false": false.share},
    )


def _is_confirmed(audits: Sequence[ScoredAudit]) -> bool:
    now = 0.0
    judge, candidate = Judge(Config(), lambda: now), _candidate()
    certification = Certification(task="task", version=candidate.version)
    for count in range(0, len(audits), CONFIRM_EVERY):
        now = count * _APART_S
        came: ScoredAudits = {"new": list(audits[:count]), "learnt": [], "variant": []}
        certification = judge.renew(candidate, certification, came, [TARGET])
        certificate = certification.find_certificate("new", TARGET)
        if certificate.attempts:
            return certificate.stage == "live"
    return False


def _draw(chance: Generator, risk: Risk, is_mixed: bool) -> list[ScoredAudit]:
    ranks = chance.random(_AUDITS)
    losses = (chance.random(_AUDITS) < risk(ranks)).astype(float)
    columns = zip(ranks.tolist(), chance.random(_AUDITS).tolist(), losses.tolist(), strict=True)
    callers, forms = _names(chance, CALLERS, is_mixed, "app"), _names(chance, FORMS, is_mixed, FORM)
    return [
        scored_audit(
            int(chance.integers(1 << 62)),
            at=number * _APART_S,
            text=number,
            score=score,
            loss=loss,
            similarity=rank,
            propensity=1.0,
            caller=next(callers),
            form=next(forms),
        )
        for number, (rank, score, loss) in enumerate(columns)
    ]


def _names(chance: Generator, shares: dict[str, float], is_mixed: bool, only: str) -> Iterator[str]:
    if not is_mixed:
        return iter([only] * _AUDITS)
    return iter(cast("list[str]", chance.choice(list(shares), _AUDITS, p=list(shares.values())).tolist()))


def _candidate() -> Candidate:
    """Return a version of which validation says that the surer half of its answers is right."""
    scores = np.linspace(0.0, 1.0, _VALIDATED)
    return Candidate(
        version=1,
        # The drafts are here already.
        runtime=cast("Runtime", None),
        learnt=LearntTexts(),
        deferral=None,
        validation=EvalResult(scores.tolist(), (scores < 0.5).astype(float).tolist()),
        is_imported=True,
    )


def _alike(ranks: FloatArray) -> FloatArray:
    return np.full(len(ranks), RISK_TOO_HIGH)


def _never(ranks: FloatArray) -> FloatArray:
    return np.where(ranks < _STRANGE, 0.0, RISK_TOO_HIGH / (1.0 - _STRANGE))


def _often(ranks: FloatArray) -> FloatArray:
    return np.where(ranks < _STRANGE, 10.0 * RISK_TOO_HIGH, RISK_TOO_HIGH)
