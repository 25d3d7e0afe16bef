"""The plan of one request, from the first policy that matches it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from gateway.core import (
    UNCONSTRAINED,
    Budget,
    Constraints,
    Grant,
    Period,
    Plan,
    Request,
    Requirement,
    Resource,
    RiskTarget,
    Trainable,
)
from gateway.errors import RequestError
from gateway.policy.prepared import CHAT, PreparedPolicy, list_budgets, prepare_policy
from gateway.policy.refusals import refuse_closed_path, refuse_forbidden, refuse_padded_model
from gateway.policy.schema import NO_POLICY, Policy

RESERVE = 0.05
"""The share of a budget that, where a specialist serves, only audits of drafts that pass may spend."""
MOST_MATCHES = 10_000
"""Requests by model, caller, path, method and the key's policies: the policy that decides each."""
MOST_REMEMBERED_CHARS = 200
MOST_PLANS = 10_000
"""Plans kept, one per tenant and policy; about 300 bytes each."""

UNMATCHED = Plan(
    policy=NO_POLICY,
    may_serve=False,
    because="no policy matches",
    audit_share=0.0,
    settling_audit_share=0.0,
    shadow_audit_share=0.0,
    may_harvest=False,
)
"""No policy matches: the request passes through to the teacher and leaves nothing to learn from."""


class PolicyPlanner:
    """Implements cascade's Planner: the first policy that matches a request decides.

    `spent(budget)` returns the dollars spent of a budget in its current period, from memory. Near the
    limit the plan forbids escalation: cascade refuses requests that need the teacher with 429, and
    certified local service goes on. The last RESERVE of the budget pays audits of it, so that a spent
    budget does not blind the drift alarm; where nothing is certified, it pays for anything.

    With `has_own_key` every call carries the gateway's credential: what no policy can be held to is then
    refused unless a policy opens its path. `first_teacher` answers unless a policy names others; `terms`
    say of each teacher whether its answers may be kept; `constraints` hold under every policy.
    """

    def __init__(
        self,
        policies: Sequence[Policy],
        spent: Callable[[Budget], float],
        *,
        has_own_key: bool = False,
        first_teacher: str = "",
        terms: Mapping[str, Trainable] | None = None,
        constraints: Constraints = UNCONSTRAINED,
    ) -> None:
        self._has_own_key = has_own_key
        self._first_teacher = first_teacher
        self._policies = [
            prepare_policy(policy, self._find_terms(policy, terms or {}), constraints) for policy in policies
        ]
        self._spent = spent
        self._plans: dict[tuple[str, str, str], Plan] = {}
        self._looks_at_paths = any(prepared.paths for prepared in self._policies)
        self._matches: dict[tuple[str, str, str, str, tuple[str, ...]], PreparedPolicy | None] = {}

    def plan(self, request: Request) -> Plan:
        """Return what is allowed for `request`. Raises RequestError (403) if it is forbidden."""
        if self._has_own_key and request.model != request.model.strip():
            raise refuse_padded_model(request.model)
        _check_model(request)
        prepared = self._match(request.model, request.caller, request.resource, request.grant)
        if prepared is not None and prepared.policy.forbid:
            raise refuse_forbidden(prepared.policy, request)
        if (
            self._has_own_key
            and (reason := closed_reason(request))
            and not (prepared and prepared.opens(request.resource))
        ):
            raise refuse_closed_path(request.resource, reason)
        if prepared is None:
            return _unmatched(request)
        plan = self._plan_of(prepared, request)
        if plan.may_serve and request.mode == "teacher":
            plan = msgspec.structs.replace(plan, may_serve=False, because="teacher asked for")
        return self._within_budget(plan) if plan.budgets else plan

    def risk_targets(self, model: str) -> tuple[RiskTarget, ...]:
        """Return what the policies that may serve `model` ask of its specialists, strictest first.

        A policy for other paths (batches, files) asks nothing: no specialist answers there.
        """
        return tuple(sorted({each.target for each in self.requirements(model)}))

    def requirements(self, model: str) -> tuple[Requirement, ...]:
        """Return the same with what a specialist may take for it, in the order of the policies."""
        found = {
            Requirement(one.plan.target, one.plan.constraints): None
            for one in self._policies
            if one.may_serve and one.models.match(model)
        }
        return tuple(found)

    def scope(self, model: str, caller: str, tenant: str, grant: Grant) -> str:
        """Return the scope that a caller's requests for `model` learn from and are served from."""
        prepared = self._match(model, caller, CHAT, grant)
        return self._scope_of(prepared.policy, tenant) if prepared else ""

    def _match(self, model: str, caller: str, resource: Resource, grant: Grant) -> PreparedPolicy | None:
        """Return the first policy that matches; remembered, so that fifty policies cost what one does."""
        path = resource.path if self._looks_at_paths else ""
        key = (model, caller, path, resource.method, grant.policies)
        if key in self._matches:
            return self._matches[key]
        found = next((one for one in self._policies if one.matches(model, caller, resource, grant)), None)
        if len(model) + len(path) <= MOST_REMEMBERED_CHARS:
            if len(self._matches) >= MOST_MATCHES:
                self._matches.clear()
            self._matches[key] = found
        return found

    def _plan_of(self, prepared: PreparedPolicy, request: Request) -> Plan:
        """Return the plan of a policy with scope and budgets of `request`; made once, not per request."""
        owner = _owner_of(prepared.policy, request)
        key = (prepared.policy.name, request.tenant, owner)
        if (plan := self._plans.get(key)) is None:
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            scope = self._scope_of(prepared.policy, request.tenant)
            budgets = list_budgets(prepared.policy, owner)
            plan = self._plans[key] = msgspec.structs.replace(prepared.plan, scope=scope, budgets=budgets)
        return plan

    def _scope_of(self, policy: Policy, tenant: str) -> str:
        """Return the scope that a policy's tasks learn from; another first teacher has tasks of its own."""
        scope = {"tenant": f"tenant:{tenant}", "policy": f"policy:{policy.name}", "all": "all"}[policy.share]
        teacher = policy.teachers[0] if policy.teachers else self._first_teacher
        return scope if teacher == self._first_teacher else f"{scope} teacher:{teacher}"

    def _find_terms(self, policy: Policy, terms: Mapping[str, Trainable]) -> Trainable:
        return terms.get(policy.teachers[0] if policy.teachers else self._first_teacher, "yes")

    def _within_budget(self, plan: Plan) -> Plan:
        spent = [(budget, self._spent(budget)) for budget in plan.budgets]
        low = [budget for budget, usd in spent if usd >= budget.usd * (1 - RESERVE)]
        if not low:
            return plan
        gone = [budget for budget, usd in spent if usd >= budget.usd]
        # "month" is the greater word, and the longer time.
        return _without_budget(plan, max(budget.period for budget in gone or low), is_reserve=not gone)


def closed_reason(request: Request) -> str:
    """Return why a request with the gateway's own key needs a policy that opens its path; empty if none."""
    endpoint = request.resource.endpoint
    if endpoint is None:
        return "it is not an endpoint that stepdown knows"
    if endpoint.access == "closed":
        return "it concerns the teacher's account, not one caller"
    if not endpoint.names_model_in_time or (endpoint.model != "none" and not request.model):
        return "its model cannot be read before the teacher acts on it"
    return ""


def _check_model(request: Request) -> None:
    """Refuse a model that the caller's key was not given, and one that cannot be read."""
    grant, model = request.grant, request.model
    endpoint = request.resource.endpoint
    if not grant.models or (endpoint is not None and endpoint.model == "none") or grant.allows_model(model):
        return
    wanted = f"the model '{model}'" if model else "a path without a readable model"
    raise RequestError(
        f"The key '{request.caller}' may not use {wanted}; its models: {', '.join(grant.models)}.",
        status=403,
        param="model",
        code="model_not_allowed",
    )


def _unmatched(request: Request) -> Plan:
    """Return the plan without a policy; a key that may use certain policies alone gets none."""
    if not request.grant.policies:
        return UNMATCHED
    raise RequestError(
        f"None of the policies of key '{request.caller}' matches: {', '.join(request.grant.policies)}.",
        status=403,
        code="forbidden_by_policy",
    )


def _owner_of(policy: Policy, request: Request) -> str:
    """Return the tenant or key that the policy's limits are for; empty if all share them."""
    if policy.budget_per == "policy":
        return ""
    return request.tenant if policy.budget_per == "tenant" else request.caller


def _without_budget(plan: Plan, period: Period, *, is_reserve: bool) -> Plan:
    plan = msgspec.structs.replace(
        plan, may_escalate=False, spent_period=period, is_reserve=is_reserve, shadow_audit_share=0.0
    )
    return plan if is_reserve else msgspec.structs.replace(plan, audit_share=0.0, settling_audit_share=0.0)
