"""The explanation of one request for an operator: who answered, why, and what would have had to differ."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence

import msgspec

from gateway.policy.other_way import describe_other_way
from gateway.policy.schema import Policy
from gateway.store.decision_record import REFUSED, CertificateFacts, DecisionRecord
from gateway.store.spend import Sums


class RuleMatch(msgspec.Struct, frozen=True, kw_only=True):
    """How a policy's rules took a request; a rule is the pattern that matched, empty if none did."""

    policy: str
    models: str
    callers: str
    paths: str
    methods: str

    @property
    def failed(self) -> list[str]:
        """Which rules did not match."""
        rules = ("models", "callers", "paths", "methods")
        return [rule for rule in rules if not getattr(self, rule)]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """One request, explained; dollars are those of the ledger, all later reports included."""

    request_id: str
    at: float
    method: str
    path: str
    model: str
    key: str
    tenant: str
    decision: str
    status: int
    reason: str
    served_by: str
    """`task@version`, `teacher`, `encoder`, or empty for a refusal."""
    is_whole: bool
    is_streamed: bool
    is_hedged: bool
    policy: str
    alpha: float
    delta: float
    days: float
    agreement: str
    """How the policy compares an answer with the teacher's."""
    rules: list[RuleMatch]
    """Of each policy up to the one that decided, as the files are now; empty if they say otherwise now."""
    task: str
    task_name: str
    """The readable name that it has now."""
    match: str
    similarity: float | None
    place: str
    is_on_probation: bool
    form: str
    stratum: str
    version: int
    certificate: CertificateFacts | None
    score: float | None
    threshold: float | None
    familiarity: float | None
    is_first_stage: bool
    """Whether a head's first stage drafted, from words alone."""
    audit_propensity: float
    is_held_out: bool
    would_serve: bool
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    price_model: str
    is_estimated: bool
    usd: float
    counterfactual_usd: float
    saved_usd: float
    hedge_usd: float
    latency_ms: float
    first_byte_ms: float
    draft_ms: float
    weight: float
    other_way: str
    """What would have had to differ for the other decision."""


def explain_decision(
    records: Sequence[DecisionRecord], policies: Sequence[Policy], name_of: Callable[[str], str] = str
) -> Explanation:
    """Return the explanation of the request that all of `records`, at least one, speak of."""
    record = min(records, key=lambda each: (each.row.decision == REFUSED, each.row.at))
    row = record.row
    sums = sum((each.row.sums() for each in records), start=Sums())
    return Explanation(
        request_id=row.request_id,
        at=row.at,
        method=record.method,
        path=row.endpoint or record.path,
        model=row.requested,
        key=row.key,
        tenant=row.tenant,
        decision=row.decision,
        status=record.status,
        reason=record.reason,
        served_by=_served_by(record),
        is_whole=record.is_whole,
        is_streamed=record.is_streamed,
        is_hedged=record.is_hedged,
        policy=row.policy,
        alpha=record.alpha,
        delta=record.delta,
        days=record.days,
        agreement=record.agreement,
        rules=_match_rules(policies, record),
        task=row.task,
        task_name=name_of(row.task),
        match=record.match,
        similarity=record.similarity,
        place=record.place,
        is_on_probation=record.is_on_probation,
        form=record.form,
        stratum=record.stratum,
        version=record.version,
        certificate=record.certificate,
        score=record.score,
        threshold=record.threshold,
        familiarity=record.familiarity,
        is_first_stage=record.is_first_stage,
        audit_propensity=record.propensity,
        is_held_out=record.is_held_out,
        would_serve=record.would_serve,
        prompt_tokens=sums.prompt_tokens,
        completion_tokens=sums.completion_tokens,
        cached_tokens=sums.cached_tokens,
        price_model=row.model,
        is_estimated=sums.estimated > 0,
        usd=sums.usd,
        counterfactual_usd=sums.counterfactual_usd,
        saved_usd=sums.counterfactual_usd - sums.usd,
        hedge_usd=sums.hedge_usd,
        latency_ms=record.latency_ms,
        first_byte_ms=record.first_byte_ms,
        draft_ms=record.draft_ms,
        weight=record.weight,
        other_way=describe_other_way(record),
    )


def _match_rules(policies: Sequence[Policy], record: DecisionRecord) -> list[RuleMatch]:
    """Return how each policy up to the one that decided takes the request; none if it no longer matches."""
    row = record.row
    found: list[RuleMatch] = []
    for policy in policies:
        rules = RuleMatch(
            policy=policy.name,
            models=_first_match(policy.models, row.requested, ignores_case=policy.forbid),
            callers=_first_match(policy.callers, row.key),
            paths=_first_match(policy.paths, row.endpoint or record.path),
            methods=_first_match(policy.methods, record.method, ignores_case=True),
        )
        found.append(rules)
        if policy.name == row.policy:
            return [] if rules.failed else found
    return []


def _first_match(globs: Sequence[str], value: str, *, ignores_case: bool = False) -> str:
    for glob in globs:
        pair = (value.lower(), glob.lower()) if ignores_case else (value, glob)
        if fnmatch.fnmatchcase(*pair):
            return glob
    return ""


def _served_by(record: DecisionRecord) -> str:
    match record.row.decision:
        case "refused":
            return ""
        case "local":
            return f"{record.row.task}@{record.version}" if record.row.task else "encoder"
    return "teacher"
