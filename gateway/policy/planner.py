"""From policies to the plan of one request."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence

import msgspec

from gateway.core import Plan, Request
from gateway.errors import RequestError
from gateway.policy.schema import Policy

UNCLAIMED = Plan(
    policy="none",
    may_serve=False,
    because="no policy matches",
    audit_share=0.0,
    settling_audit_share=0.0,
    shadow_audit_share=0.0,
    may_harvest=False,
)
"""Nobody said anything about such a request: the teacher answers as if we were not there."""


class _Entry(msgspec.Struct, frozen=True):
    policy: Policy
    plan: Plan
    models: re.Pattern[str]
    callers: re.Pattern[str]


class PolicyPlanner:
    """Implements cascade's Planner: the first policy which matches a request decides.

    `spent_today(policy name)` returns the teacher's cost of the current UTC day in dollars,
    from memory. Once it reaches `usd_per_day` the plan forbids escalation and audits: the
    cascade refuses with 429 what needs the teacher, and certified local service goes on.
    Answers which are then in flight may overrun the limit.
    """

    def __init__(self, policies: Sequence[Policy], spent_today: Callable[[str], float]) -> None:
        self._entries = [_entry(policy) for policy in policies]
        self._spent_today = spent_today

    def plan(self, request: Request) -> Plan:
        """Return what is allowed for `request`. Raises RequestError (403) if forbidden."""
        entry = self._matching(request)
        if entry is None:
            return UNCLAIMED
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
        return plan if self._is_paid(entry.policy) else _unpaid(plan)

    def promise(self, model: str) -> tuple[float, float]:
        """Return alpha and delta of the first policy which speaks of `model`, whoever calls."""
        for entry in self._entries:
            if entry.models.match(model):
                return entry.plan.alpha, entry.plan.delta
        return UNCLAIMED.alpha, UNCLAIMED.delta

    def _matching(self, request: Request) -> _Entry | None:
        for entry in self._entries:
            if entry.models.match(request.model) and entry.callers.match(request.caller):
                return entry
        return None

    def _is_paid(self, policy: Policy) -> bool:
        limit = policy.usd_per_day
        return limit is None or self._spent_today(policy.name) < limit


def _unpaid(plan: Plan) -> Plan:
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
