"""From an Outcome and its cost to the record of the decision."""

from __future__ import annotations

import msgspec

from gateway.core import (
    Certificate,
    Certification,
    Cost,
    Outcome,
    Plan,
    RiskTarget,
    Stratum,
    Usage,
    stratum_of,
)
from gateway.store.awaited_usage import AwaitedUsage
from gateway.store.decision_record import CertificateFacts, DecisionRecord
from gateway.store.ledger_row import LedgerRow

# Tasks times policies times strata of one worker; more are looked up again.
_MOST_REMEMBERED = 10_000
_UNITS_IN_COLUMNS = frozenset(
    {"prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "is_estimated"}
)


class DecisionRecorder:
    """Makes the record of each Outcome; remembers the certificates, which rarely change."""

    def __init__(self) -> None:
        self._certificates: dict[
            tuple[str, Stratum | None, str], tuple[Certification, CertificateFacts | None]
        ] = {}

    def create_record(self, outcome: Outcome, cost: Cost, *, is_booked: bool) -> DecisionRecord:
        """Return the record of a finished request."""
        request, plan, route, draft = outcome.request, outcome.plan, outcome.route, outcome.draft
        certification = outcome.certification
        stratum = stratum_of(draft, is_variant=route.is_variant) if draft and route else None
        return DecisionRecord(
            row=_row_of(outcome, cost),
            is_booked=is_booked,
            status=outcome.status,
            reason=outcome.reason,
            method=request.resource.method,
            path="" if request.resource.endpoint else request.resource.path[:200],
            surface=request.surface,
            mode=request.mode,
            form=request.form,
            match=route.match if route else "",
            similarity=route.similarity if route and route.is_variant else None,
            place=route.place[:200] if route else "",
            is_on_probation=route is not None and route.is_on_probation,
            alpha=plan.alpha,
            delta=plan.delta,
            days=plan.days,
            agreement=plan.agreement,
            stratum=stratum or "",
            certificate=self._facts_of(certification, stratum, plan, outcome.at) if certification else None,
            version=(certification.version or 0) if certification else 0,
            score=draft.score if draft else None,
            threshold=outcome.threshold,
            familiarity=draft.similarity if draft else None,
            is_first_stage=draft is not None and draft.is_first_stage,
            propensity=outcome.audit_propensity,
            is_held_out=outcome.is_held_out,
            would_serve=outcome.would_serve,
            is_streamed=outcome.is_event_stream,
            is_hedged=outcome.is_hedged,
            is_whole=outcome.is_complete,
            latency_ms=outcome.latency_ms,
            first_byte_ms=outcome.first_byte_ms,
            draft_ms=draft.latency_ms if draft else 0.0,
        )

    def _facts_of(
        self, certification: Certification, stratum: Stratum | None, plan: Plan, at: float
    ) -> CertificateFacts | None:
        # A policy asks for one target, and its name is cheaper to hash.
        key = certification.task, stratum, plan.policy
        found = self._certificates.get(key)
        # A certificate that lapses since is still the one that speaks of this request.
        if found is not None and found[0] is certification:
            return found[1]
        facts = _describe_certificate(certification, stratum, plan.target, at)
        if len(self._certificates) >= _MOST_REMEMBERED:
            self._certificates.clear()
        self._certificates[key] = certification, facts
        return facts


def later_record(owner: AwaitedUsage, cost: Cost, at: float) -> DecisionRecord:
    """Return the record of what an earlier request has taken, as far as it was reported by now."""
    payer = (owner.request_id, owner.tenant, owner.key, owner.policy, owner.task)
    row = _make_row(at, payer, cost, decision="bypass", endpoint=owner.endpoint, requested=owner.requested)
    return DecisionRecord(row=row, status=200, reason="usage reported later")


def _describe_certificate(
    certification: Certification, stratum: Stratum | None, target: RiskTarget, at: float
) -> CertificateFacts | None:
    """Return the certificate that lets the most drafts pass, else what the strictest still lacks."""
    if stratum is None:
        found = next(certification.in_force(target, at), None) or _find_lacking(certification, target)
    else:
        found = certification.certificate_of(stratum, target, at)
        found = found or certification.find_certificate(stratum, target)
    if found is None:
        return None
    return CertificateFacts(
        found.stage,
        found.target.alpha,
        found.target.delta,
        found.target.days,
        found.threshold,
        found.tentative,
        found.evidence_from,
        found.evidence_to,
        found.expires_at,
        found.audits,
        found.accepted,
        found.losses,
        found.audits_missing,
        found.note[:300],
        found.target.agreement,
        found.target.evidence,
    )


def _find_lacking(certification: Certification, target: RiskTarget) -> Certificate | None:
    return next((each for each in certification.certificates if each.target == target), None)


_Payer = tuple[str, str, str, str, str]
"""Request id, tenant, key, policy and task."""


def _row_of(outcome: Outcome, cost: Cost) -> LedgerRow:
    request, endpoint = outcome.request, outcome.request.resource.endpoint
    task = outcome.route.task if outcome.route else ""
    payer = (request.id, request.tenant, request.caller, outcome.plan.policy, task)
    path = endpoint.path if endpoint else ""
    is_saved = outcome.would_serve and outcome.decision != "local"
    would_save_usd = cost.counterfactual_usd if is_saved else 0.0
    return _make_row(
        outcome.at,
        payer,
        cost,
        decision=outcome.decision,
        endpoint=path,
        requested=request.model,
        would_save_usd=would_save_usd,
    )


def _make_row(
    at: float,
    payer: _Payer,
    cost: Cost,
    *,
    decision: str,
    endpoint: str,
    requested: str,
    would_save_usd: float = 0.0,
) -> LedgerRow:
    usage = cost.usage
    return LedgerRow(
        at,
        *payer,
        decision,
        endpoint,
        requested[:200],
        cost.model[:200],
        cost.tier,
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cached_tokens,
        usage.reasoning_tokens,
        _other_units(usage),
        cost.usd,
        cost.counterfactual_usd,
        would_save_usd,
        cost.hedge_usd,
        _source(cost),
        _price_kind(cost),
    )


def _source(cost: Cost) -> str:
    if not cost.is_billed:
        return "none"
    return "estimated" if cost.usage.is_estimated else "reported"


def _price_kind(cost: Cost) -> str:
    if not cost.is_known:
        return "unknown"
    return "listed" if cost.is_named_known else "alias"


def _other_units(usage: Usage) -> str:
    if usage.is_text and not usage.cache_write_tokens:
        return ""
    units = msgspec.to_builtins(usage)
    return msgspec.json.encode(
        {name: value for name, value in units.items() if value and name not in _UNITS_IN_COLUMNS}
    ).decode()
