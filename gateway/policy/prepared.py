"""One policy, ready to be asked: what matches it, and the plan that it gives."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence

import msgspec

from gateway.core import Budget, Constraints, Grant, Period, Plan, Resource, Trainable
from gateway.policy.schema import Policy
from gateway.policy.teachers import teacher_terms

CHAT = Resource(method="POST", path="/v1/chat/completions")
"""Where a specialist is asked for most."""
RESPONSES = Resource(method="POST", path="/v1/responses")

_SERVED = (CHAT, RESPONSES)
"""Where specialists answer."""

# At least the first word below /v1/ without a wildcard: `/v1/*` opens nothing.
_NAMED_PATH = re.compile(r"/v1/[^/*?\[]+(/|\*?$)")


class PreparedPolicy(msgspec.Struct, frozen=True):
    """A policy with the patterns of its globs; use `prepare_policy`."""

    policy: Policy
    plan: Plan
    """What it allows, without the scope and the budgets of a request."""
    models: re.Pattern[str]
    callers: re.Pattern[str]
    paths: re.Pattern[str] | None
    """None: every path, as `methods`."""
    methods: re.Pattern[str] | None
    opened: re.Pattern[str] | None
    """The paths that the policy names, and so opens if they are closed by default."""

    @property
    def may_serve(self) -> bool:
        """Whether a specialist may answer any request of the policy."""
        policy = self.policy
        return policy.serve and not policy.forbid and any(self._takes(resource) for resource in _SERVED)

    def matches(self, model: str, caller: str, resource: Resource, grant: Grant) -> bool:
        """Return whether the policy speaks of a request; one that forbids needs no key to name it."""
        return bool(
            self.models.match(model)
            and self.callers.match(caller)
            and self._takes(resource)
            and (self.policy.forbid or grant.allows_policy(self.policy.name))
        )

    def opens(self, resource: Resource) -> bool:
        """Return whether the policy names a path that may be closed by default."""
        return self.opened is not None and self.opened.match(resource.path) is not None

    def _takes(self, resource: Resource) -> bool:
        return (self.paths is None or self.paths.match(resource.path) is not None) and (
            self.methods is None or self.methods.match(resource.method) is not None
        )


def prepare_policy(policy: Policy, terms: Trainable, constraints: Constraints) -> PreparedPolicy:
    """Return `policy` with its plan; `terms` are those of its first teacher, `constraints` hold as well."""
    plan = Plan(
        policy=policy.name,
        may_serve=policy.serve,
        because="" if policy.serve else "policy says teacher",
        alpha=policy.alpha,
        delta=policy.delta,
        days=policy.certificate.days,
        agreement=policy.agreement,
        constraints=policy.constraints.strictest(constraints),
        evidence="imported" if policy.imported == "serve" else "live",
        audit_share=policy.audit.certified,
        settling_audit_share=policy.audit.settling,
        shadow_audit_share=policy.audit.shadow,
        may_harvest=policy.harvest and terms != "no",
        is_restricted=terms == "restricted",
        keep_days=policy.keep_days,
        private_kinds=policy.private_kinds,
        hedge_s=None if policy.hedge_ms is None else policy.hedge_ms / 1000,
        **teacher_terms(policy),
        may_serve_stored=policy.stored_responses == "serve",
        embed=policy.embed,
        asks_usage=policy.usage == "ask" or (policy.usage is None and bool(list_budgets(policy, ""))),
        shares_objects=policy.objects == "shared",
    )
    named = [glob for glob in policy.paths if _NAMED_PATH.match(glob)]
    return PreparedPolicy(
        policy,
        plan,
        # Azure's names of models have no case: who writes one in capitals must not get past.
        models=_any_of(policy.models, re.IGNORECASE if policy.forbid else 0),
        callers=_any_of(policy.callers),
        paths=None if "*" in policy.paths else _any_of(policy.paths),
        methods=None if "*" in policy.methods else _any_of([method.upper() for method in policy.methods]),
        opened=_any_of(named) if named else None,
    )


def list_budgets(policy: Policy, owner: str) -> tuple[Budget, ...]:
    """Return the limits of `policy` that the requests of `owner` are paid from, a tenant, a key or empty."""
    name = f"policy {policy.name}/{policy.budget_per} {owner}" if owner else f"policy {policy.name}"
    limits: tuple[tuple[Period, float | None], ...] = (
        ("day", policy.usd_per_day),
        ("month", policy.usd_per_month),
    )
    return tuple(
        Budget(name, period, usd, policy.name, policy.warn_share) for period, usd in limits if usd is not None
    )


def _any_of(globs: Sequence[str], flags: int = 0) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs), flags)
