"""The plan of one request, from the first policy that matches it."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence

import msgspec

from gateway.core import Plan, Request
from gateway.errors import RequestError
from gateway.policy.schema import Policy

UNMATCHED = Plan(
    policy="none",
    may_serve=False,
    because="no policy matches",
    audit_share=0.0,
    settling_audit_share=0.0,
    shadow_audit_share=0.0,
    may_harvest=False,
)
"""No policy matches: the request passes through to the teacher and leaves nothing to learn from."""


class _Entry(msgspec.Struct, frozen=True):
    policy: Policy
    plan: Plan
    models: re.Pattern[str]
    callers: re.Pattern[str]


class PolicyPlanner:
    """Implements cascade's Planner: the first policy that matches a request decides.

    `spent_today(policy name)` returns the teacher's cost of the current UTC day in dollars,
    from memory. Once it reaches `usd_per_day`, the plan forbids escalation and audits: cascade
    refuses requests that need the teacher with 429, and certified local service goes on.
    Answers already in flight at that moment may overrun the limit.
    """

    def __init__(self, policies: Sequence[Policy], spent_today: Callable[[str], float]) -> None:
        self._entries = [_entry(policy) for policy in policies]
        self._spent_today = spent_today

    def plan(self, request: Request) -> Plan:
        """Return what is allowed for `request`. Raises RequestError (403) if it is forbidden."""
        entry = self._match(request)
        if entry is None:
            return UNMATCHED
        if entry.policy.forbid:
            raise RequestError(
                f"policy '{entry.policy.name}' forbids model '{request.model}'",
                status=403,
                param="model",
                code="forbidden_by_policy",
            )
        plan = entry.plan
        if plan.may_serve and request.mode == "teacher":
            plan = msgspec.structs.replace(plan, may_serve=False, because="teacher asked for")
        return plan if self._has_budget(entry.policy) else _without_budget(plan)

    def risk_target(self, model: str) -> tuple[float, float]:
        """Return alpha and delta of the first policy for `model`, whatever its callers."""
        for entry in self._entries:
            if entry.models.match(model):
                return entry.plan.alpha, entry.plan.delta
        return UNMATCHED.alpha, UNMATCHED.delta

    def _match(self, request: Request) -> _Entry | None:
        for entry in self._entries:
            if entry.models.match(request.model) and entry.callers.match(request.caller):
                return entry
        return None

    def _has_budget(self, policy: Policy) -> bool:
        limit = policy.usd_per_day
        return limit is None or self._spent_today(policy.name) < limit


def _without_budget(plan: Plan) -> Plan:
    return msgspec.structs.replace(
        plan, may_escalate=False, audit_share=0.0, settling_audit_share=0.0, shadow_audit_share=0.0
    )


def _entry(policy: Policy) -> _Entry:
    plan = Plan(
        policy=policy.name,
        may_serve=policy.serve,
        because="" if policy.serve else "policy says teacher",
        alpha=policy.alpha,
        delta=policy.delta,
        audit_share=policy.audit.certified,
        settling_audit_share=policy.audit.settling,
        shadow_audit_share=policy.audit.shadow,
        may_harvest=policy.harvest,
        hedge_s=None if policy.hedge_ms is None else policy.hedge_ms / 1000,
        may_serve_stored=policy.stored_responses == "serve",
        embed=policy.embed,
    )
    return _Entry(policy, plan, _any_of(policy.models), _any_of(policy.callers))


def _any_of(globs: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs))
