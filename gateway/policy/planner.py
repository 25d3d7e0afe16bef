"""The plan of one request, from the first policy that matches it."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence

import msgspec

from gateway.core import Plan, Request, RiskTarget
from gateway.errors import RequestError
from gateway.policy.schema import Policy

RESERVE = 0.05
"""The share of a daily budget that only audits of drafts that pass may spend."""
MOST_PLANS = 10_000
"""Plans kept, one per tenant and policy; about 300 bytes each."""

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
    from memory. Near `usd_per_day` the plan forbids escalation: cascade refuses requests that need
    the teacher with 429, and certified local service goes on. The last RESERVE of the budget pays
    audits of it, so that a spent budget does not blind the drift alarm. Answers already in flight at
    that moment may overrun the limit.
    """

    def __init__(self, policies: Sequence[Policy], spent_today: Callable[[str], float]) -> None:
        self._entries = [_entry(policy) for policy in policies]
        self._spent_today = spent_today
        self._plans: dict[tuple[str, str], Plan] = {}

    def plan(self, request: Request) -> Plan:
        """Return what is allowed for `request`. Raises RequestError (403) if it is forbidden."""
        entry = self._match(request.model, request.caller)
        if entry is None:
            return UNMATCHED
        if entry.policy.forbid:
            raise RequestError(
                f"policy '{entry.policy.name}' forbids model '{request.model}'",
                status=403,
                param="model",
                code="forbidden_by_policy",
            )
        plan = self._plan_of(entry, request.tenant)
        if plan.may_serve and request.mode == "teacher":
            plan = msgspec.structs.replace(plan, may_serve=False, because="teacher asked for")
        return self._within_budget(plan, entry.policy)

    def risk_targets(self, model: str) -> tuple[RiskTarget, ...]:
        """Return what the policies that may serve `model` ask of its specialists, strictest first."""
        asked = {
            RiskTarget(entry.policy.alpha, entry.policy.delta, entry.policy.certificate.days)
            for entry in self._entries
            if entry.policy.serve and not entry.policy.forbid and entry.models.match(model)
        }
        return tuple(sorted(asked))

    def scope(self, model: str, caller: str, tenant: str) -> str:
        """Return whose traffic a caller's requests for `model` learn from and are served from."""
        entry = self._match(model, caller)
        return _scope_of(entry.policy, tenant) if entry else ""

    def _match(self, model: str, caller: str) -> _Entry | None:
        for entry in self._entries:
            if entry.models.match(model) and entry.callers.match(caller):
                return entry
        return None

    def _plan_of(self, entry: _Entry, tenant: str) -> Plan:
        """Return the entry's plan with the scope of `tenant`; made once, not per request."""
        key = (entry.policy.name, tenant)
        if (plan := self._plans.get(key)) is None:
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            scope = _scope_of(entry.policy, tenant)
            plan = self._plans[key] = msgspec.structs.replace(entry.plan, scope=scope)
        return plan

    def _within_budget(self, plan: Plan, policy: Policy) -> Plan:
        if policy.usd_per_day is None:
            return plan
        spent = self._spent_today(policy.name)
        if spent < policy.usd_per_day * (1 - RESERVE):
            return plan
        return _in_reserve(plan) if spent < policy.usd_per_day else _without_budget(plan)


def _scope_of(policy: Policy, tenant: str) -> str:
    return {"tenant": f"tenant:{tenant}", "policy": f"policy:{policy.name}", "all": "all"}[policy.share]


def _in_reserve(plan: Plan) -> Plan:
    return msgspec.structs.replace(plan, may_escalate=False, is_reserve=True, shadow_audit_share=0.0)


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
