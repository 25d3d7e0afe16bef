"""From scored audits to a certificate: which of them are its evidence, and what they prove."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from gateway.confidence.agreement import is_graded
from gateway.confidence.learn_then_test import (
    THRESHOLDS,
    AcceptedAudits,
    CertifiedThreshold,
    certify_threshold,
)
from gateway.confidence.spending import ATTEMPTS_IN_FORCE, delta_for_attempt
from gateway.confidence.units import DAY_S, independent_units
from gateway.confidence.window import equal_propensity
from gateway.core import Certificate, RiskTarget

UNITS_OF_A_FORM = 10
"""Evidence from which a form of conversation belongs to the certified population."""
NOVEL_SHARE = 0.01
"""Share of the evidence that lies below the novelty floor: what new texts lose to it."""
AUDITS_OF_A_TEMPLATE = 30
"""First requests of a near copy that are evidence for copies; more would make one template the rule."""
CONFIRMATION_ATTEMPTS = ATTEMPTS_IN_FORCE
"""What a test of one hypothesis counts for: it spends what so many attempts in a row would."""
NEVER = -1.0
"""The score of an audit without a draft that could have been served: below every threshold."""


class ScoredAudit(msgspec.Struct, frozen=True, kw_only=True):
    """A held-out request with the draft of the version under test, scored and compared.

    `is_servable` says that the draft is a valid answer to its request, whatever its score.
    """

    request_id: str
    at: float
    text_hash: int
    caller: str
    is_vouched_for: bool
    propensity: float
    form: str
    template: str = ""
    similarity: float | None
    score: float
    loss: float
    graded: Mapping[str, float] = {}
    """The loss by each agreement other than the exact one that a target asks for."""
    is_servable: bool = True

    def loss_by(self, agreement: str) -> float:
        """Return the loss by `agreement`."""
        return self.graded.get(agreement, self.loss)


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """The units of one stratum inside one window, and the population that they speak of.

    `scores` and `losses` are (units,); a unit outside the population has the score NEVER.
    """

    audits: list[ScoredAudit]
    scores: list[float]
    losses: list[float]
    forms: tuple[str, ...]
    novelty_floor: float
    starts_at: float
    ends_at: float
    propensity: float


def select_evidence(
    audits: Sequence[ScoredAudit],
    certificate: Certificate,
    now: float,
    most: int,
    *,
    is_successor: bool = False,
    keeps_population: bool = False,
) -> Evidence:
    """Return the evidence for a test of `certificate` among the `audits` of its stratum, oldest first.

    Nothing is chosen by losses: window, units, forms and floor follow from times, texts, callers and
    similarities alone, so the tests on what is left are valid. `is_successor` says that another version
    is tested than the one that `certificate` belongs to; `keeps_population` that forms and floor are those
    of `certificate`: one test in several looks must speak of the same requests in all of them.
    """
    since = evidence_since(certificate, now)
    if certificate.stratum == "variant":
        audits = _first_of_each_template(audits)
    is_replacing = is_successor and certificate.is_in_force(now) and not certificate.is_suspect
    # A successor may speak of the traffic that the certificate in force speaks of: few audits are drawn
    # once it serves. What is not newer expires no later.
    ends_from = certificate.evidence_to if is_replacing else math.inf
    window = equal_propensity(audits, since, most, ends_from)
    units = independent_units(window.rows, once_per_text=certificate.stratum == "new")
    population = certificate if keeps_population else _choose_population(certificate, units)
    return Evidence(
        audits=units,
        scores=[unit.score if _is_member(unit, population) else NEVER for unit in units],
        losses=[unit.loss_by(certificate.target.agreement) for unit in units],
        forms=population.forms,
        novelty_floor=population.novelty_floor,
        starts_at=window.starts_at,
        ends_at=window.ends_at,
        propensity=window.propensity,
    )


def evidence_since(certificate: Certificate, now: float) -> float:
    """Return the time before which no audit is evidence for a test of `certificate`."""
    return max(certificate.valid_from, now - certificate.target.days * DAY_S)


def try_certificate(
    evidence: Evidence, certificate: Certificate, now: float, grid: Sequence[float] = THRESHOLDS
) -> Certificate | None:
    """Return `certificate` as its next attempt issues it, None if no threshold of `grid` passes."""
    attempt = certificate.attempts + 1
    target = certificate.target
    passed = certify_threshold(
        evidence.scores,
        evidence.losses,
        target.alpha,
        delta_for_attempt(target.delta, attempt),
        grid=grid,
        is_graded=is_graded(target.agreement),
    )
    counted = msgspec.structs.replace(certificate, attempts=attempt, issued_at_attempt=attempt)
    return _issue(evidence, counted, passed, now) if passed else None


def confirm_certificate(
    evidence: Evidence, certificate: Certificate, now: float, threshold: float
) -> Certificate | None:
    """Return `certificate` as issued if `threshold`, which nothing in the evidence chose, passes; else None.

    One test of evidence that was all there at once. The one hypothesis takes the levels of the next
    CONFIRMATION_ATTEMPTS, which is all of delta: so whatever the attempt after it brings, what is in force
    was issued within delta.
    """
    target = certificate.target
    passed = certify_threshold(
        evidence.scores,
        evidence.losses,
        target.alpha,
        target.delta,
        grid=(threshold,),
        starts=1,
        is_graded=is_graded(target.agreement),
    )
    return _issue(evidence, _confirming(certificate), passed, now) if passed else None


def issue_confirmed(
    evidence: Evidence, certificate: Certificate, now: float, accepted: AcceptedAudits
) -> Certificate:
    """Return `certificate` as issued for the threshold that `confidence/confirmation.py` has confirmed.

    That is one test, however many audits it looked at in turn, and takes all of delta. `accepted` are those
    of `evidence` that the threshold accepts.
    """
    passed = CertifiedThreshold(
        threshold=accepted.threshold,
        accepted=accepted.count,
        losses=accepted.losses,
        coverage=accepted.count / len(evidence.scores),
    )
    return _issue(evidence, _confirming(certificate), passed, now)


def _confirming(certificate: Certificate) -> Certificate:
    return msgspec.structs.replace(
        certificate,
        attempts=certificate.attempts + CONFIRMATION_ATTEMPTS,
        issued_at_attempt=certificate.attempts + 1,
    )


def _issue(
    evidence: Evidence,
    certificate: Certificate,
    passed: CertifiedThreshold,
    now: float,
) -> Certificate:
    lost = describe_losses(certificate.target, passed.accepted, passed.losses)
    return msgspec.structs.replace(
        certificate,
        stage="live",
        threshold=passed.threshold,
        tentative=None,
        forms=evidence.forms,
        novelty_floor=evidence.novelty_floor,
        evidence_from=evidence.starts_at,
        evidence_to=evidence.ends_at,
        expires_at=_expires_at(evidence, certificate, now),
        audits=len(evidence.scores),
        accepted=passed.accepted,
        losses=passed.losses,
        coverage=passed.coverage,
        # A restarted monitor reads the audits again that put the last certificate into alarm.
        watched_from=certificate.watched_from if certificate.stage == "live" else now,
        is_suspect=False,
        audits_missing=None,
        note=f"certified on {passed.accepted} accepted audits, {lost}",
    )


def describe_losses(target: RiskTarget, answers: int, losses: float) -> str:
    """Return what so many `answers` lost, told after their number: how many are wrong, or their mean."""
    if is_graded(target.agreement):
        return f"with a mean loss of {losses / max(1, answers):.2%}"
    return f"{losses:g} of them wrong"


def _expires_at(evidence: Evidence, certificate: Certificate, now: float) -> float:
    """Return when a certificate on `evidence` lapses: with the one before it, if nothing is newer."""
    if not certificate.is_in_force(now):
        return now + certificate.target.days * DAY_S
    return max(certificate.expires_at, evidence.ends_at + certificate.target.days * DAY_S)


def _first_of_each_template(audits: Sequence[ScoredAudit]) -> list[ScoredAudit]:
    """Return the first requests of each template: a certificate for copies speaks of unseen ones."""
    counts: Counter[str] = Counter()
    first = []
    for audit in audits:
        counts[audit.template] += 1
        if counts[audit.template] <= AUDITS_OF_A_TEMPLATE:
            first.append(audit)
    return first


def _is_member(audit: ScoredAudit, population: Certificate) -> bool:
    return audit.is_servable and not population.exclusion(audit.form, audit.similarity)


def _choose_population(certificate: Certificate, units: Sequence[ScoredAudit]) -> Certificate:
    floor = NEVER if certificate.stratum == "learnt" else _novelty_floor(units)
    return msgspec.structs.replace(certificate, forms=_covered_forms(units), novelty_floor=floor)


def _covered_forms(units: Sequence[ScoredAudit]) -> tuple[str, ...]:
    counts = Counter(unit.form for unit in units)
    return tuple(sorted(form for form, count in counts.items() if count >= UNITS_OF_A_FORM))


def _novelty_floor(units: Sequence[ScoredAudit]) -> float:
    similarities = sorted(unit.similarity for unit in units if unit.similarity is not None)
    if not similarities:
        return NEVER
    # Counted among all units: what a first stage drafted has no similarity, and is familiar by its words.
    # The rest alone would be the stranger texts, and their quantile a lower floor.
    return similarities[min(int(NOVEL_SHARE * len(units)), len(similarities) - 1)]
