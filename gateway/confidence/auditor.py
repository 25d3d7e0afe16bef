"""The observer that turns held-out requests into audits."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.confidence.agreement import measure_loss
from gateway.confidence.base import AuditSink
from gateway.confidence.gate import refusal_reason
from gateway.core import (
    ANY_TARGET,
    EXACT,
    Audit,
    Certificate,
    Draft,
    Outcome,
    Reading,
    RiskTarget,
    Stratum,
    ending_of,
    hash_text,
    stratum_of,
)


class Auditor:
    """Compares the draft of every held-out request with the teacher's answer."""

    def __init__(self, log: AuditSink) -> None:
        self._log = log

    def __call__(self, outcome: Outcome, reading: Reading) -> None:
        """Record an audit if `outcome` is one; never blocks."""
        draft, route, request = outcome.draft, outcome.route, outcome.request
        ending = ending_of(outcome, reading)
        if not outcome.is_held_out or draft is None or route is None or ending == "none":
            return
        served = list(_accepted_by(draft, outcome))
        losses = {
            agreement: measure_loss(reading.text or "", draft.text, ending, agreement)
            for agreement in _agreements(outcome)
        }
        self._log.put(
            Audit(
                request_id=request.id,
                at=outcome.at,
                task=route.task,
                stratum=stratum_of(draft, is_variant=route.is_variant),
                template=request.template,
                place=route.place,
                is_on_probation=route.is_on_probation,
                text_hash=hash_text(request.text),
                caller=request.caller,
                is_vouched_for=request.is_vouched_for,
                propensity=outcome.audit_propensity,
                version=draft.version,
                loss=max(losses.values()),
                score=draft.score,
                passes_as_new=_passes_as_new(draft, outcome) if route.is_on_probation else None,
                accepted=tuple(served),
                graded=tuple(losses[target.agreement] for target in served) if len(losses) > 1 else (),
            )
        )


def _agreements(outcome: Outcome) -> set[str]:
    """Return the agreements of the certificates in force; the exact one where none is."""
    certification = outcome.certification
    if certification is None:
        return {EXACT}
    return {each.target.agreement for each in certification.in_force(ANY_TARGET, outcome.at)} or {EXACT}


def _accepted_by(draft: Draft, outcome: Outcome) -> Iterator[RiskTarget]:
    """Yield the targets of the certificates in force under which the client would have got `draft`."""
    route = outcome.route
    assert route is not None
    for certificate in _in_force(draft, outcome, stratum_of(draft, is_variant=route.is_variant)):
        if not refusal_reason(draft, outcome.request.demands, outcome.request.form, certificate):
            yield certificate.target


def _passes_as_new(draft: Draft, outcome: Outcome) -> bool | None:
    """Return whether `draft` would be served if its template were the task's own; None if nothing is."""
    certificates = list(_in_force(draft, outcome, "new"))
    if not certificates:
        return None
    demands, form = outcome.request.demands, outcome.request.form
    return any(not refusal_reason(draft, demands, form, each) for each in certificates)


def _in_force(draft: Draft, outcome: Outcome, stratum: Stratum) -> Iterator[Certificate]:
    certification = outcome.certification
    if certification is not None and draft.version == certification.version:
        for each in certification.in_force(ANY_TARGET, outcome.at):
            if each.stratum == stratum:
                yield each
