"""Simulated traffic: requests for the audit sampler, and held-out ones as a test of a version sees them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np

from gateway.cascade.audit_sampler import StickySampler
from gateway.confidence.judging import ScoredAudit, select_evidence, try_certificate
from gateway.confidence.learn_then_test import THRESHOLDS
from gateway.core import Certificate, Certification, Message, Plan, Request, Route, Stratum
from loadtests.certificate.base import ALPHA, TARGET
from loadtests.certificate.students import FloatArray

FORM = "single/short"
MOST = 20_000
"""Audits that a test looks at; more than any scenario has."""
PLAN = Plan(policy="default", may_serve=True, alpha=TARGET.alpha, delta=TARGET.delta)
ROUTE = Route("task")
RISK_TOO_HIGH = 1.02 * ALPHA
"""So that every certificate is false, and by so little that it is as likely as a false one can be."""

Stage = Literal["shadow", "settling", "settled"]


def _in_stage(stage: Stage) -> Certification:
    if stage == "shadow":
        return Certification(task="task")
    live = live_certificate(is_settled=stage == "settled")
    return Certification(task="task", version=1, certificates=(live,))


def live_certificate(stratum: Stratum = "new", *, is_settled: bool = False) -> Certificate:
    """Return a certificate that is in force for ever and accepts scores from 0.5."""
    return Certificate(
        stratum=stratum,
        target=TARGET,
        stage="live",
        threshold=0.5,
        forms=(FORM,),
        expires_at=float("inf"),
        is_settled=is_settled,
    )


class Coin:
    """The project's audit sampler with a key of chance, asked about any time."""

    def __init__(self, chance: np.random.Generator) -> None:
        self._now = 0.0
        self._sampler = StickySampler(chance.bytes(16), lambda: self._now)
        self._stages = {stage: _in_stage(stage) for stage in ("shadow", "settling", "settled")}

    def sample(self, text: int, at: float, stage: Stage = "shadow") -> tuple[bool, float]:
        """Return whether a request with this text is held out, and with which probability."""
        self._now = at
        return self._sampler.sample(text_request(text), PLAN, self._stages[stage], ROUTE)


@lru_cache(maxsize=50_000)
def text_request(text: int) -> Request:
    """Return a plain chat request with the text of this number."""
    return Request(
        id=str(text),
        caller="app",
        target=b"/v1/chat/completions",
        headers=(),
        body=b"{}",
        received_at=0.0,
        model="giant",
        messages=(Message("user", f"text {text}"),),
        template="feed",
        contract_hash="beef",
        template_text="",
        text=f"text {text}",
    )


def scored_audit(
    request_id: int,
    *,
    at: float,
    text: int,
    score: float,
    loss: float,
    similarity: float | None = None,
    propensity: float = 0.3,
    caller: str = "app",
    is_vouched_for: bool = True,
    form: str = FORM,
) -> ScoredAudit:
    """Return a held-out request with its draft, scored and compared."""
    return ScoredAudit(
        request_id=str(request_id),
        at=at,
        text_hash=text,
        caller=caller,
        is_vouched_for=is_vouched_for,
        propensity=propensity,
        form=form,
        similarity=similarity,
        score=score,
        loss=loss,
    )


def attempt(
    audits: Sequence[ScoredAudit], stratum: Stratum, now: float, *, attempts: int = 0
) -> Certificate | None:
    """Return the certificate that the next test after `attempts` issues, None if it issues none."""
    asked = Certificate(stratum=stratum, target=TARGET, attempts=attempts)
    return try_certificate(select_evidence(audits, asked, now, MOST), asked, now)


def flat_scores(chance: np.random.Generator, count: int) -> FloatArray:
    """Return scores spread evenly over the grid's thresholds, so that each test has its own audits."""
    return chance.choice(np.array(THRESHOLDS), count)


def flat_losses(chance: np.random.Generator, count: int, risk: float) -> FloatArray:
    """Return losses of the same risk at every score."""
    return (chance.random(count) < risk).astype(float)
