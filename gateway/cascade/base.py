"""What the flow asks of its stages, and the case file which it carries along."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec

from gateway.confidence.validity import invalid_reason
from gateway.core import Decision, Deferral, Draft, Outcome, Plan, Request, Route, Standing, Verdict
from gateway.upstream.base import Reply


class Planner(Protocol):
    """The policy of a caller and a model."""

    def plan(self, request: Request) -> Plan:
        """Return what is allowed for `request`. Never blocks. Raises RequestError if forbidden."""


class Router(Protocol):
    """Names the task."""

    async def route(self, request: Request) -> Route:
        """Return the task of `request`, a new one if nothing known fits. May raise SpecialistError."""


class Standings(Protocol):
    """What each task's specialist is allowed to do."""

    def of(self, route: Route) -> Standing:
        """Return the standing of a task in a lane; a shadow without version if unknown. Never blocks."""


class AuditSampler(Protocol):
    """Draws audits, independently of every decision."""

    def sample(self, request: Request, plan: Plan, standing: Standing) -> tuple[bool, float]:
        """Return whether `request` is held out as evidence, and the probability of that.

        The same request content always falls the same way at the same probability.
        """


class Gate(Protocol):
    """Decides on a draft."""

    def judge_draft(self, draft: Draft, standing: Standing, request: Request) -> Verdict:
        """Return whether `draft` may be served. Never blocks, never raises."""


class Scorer(Protocol):
    """Turns what a draft says of itself into the score which is compared with the threshold."""

    def score_draft(self, draft: Draft, deferral: Deferral | None) -> float:
        """Return the score of `draft` under a version's deferral head. Never blocks, never raises."""


Observer = Callable[[Outcome], None]
"""Takes an Outcome off the flow; must not block and must not raise."""


class RequestState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about one request so far; every step returns a new one."""

    request: Request
    plan: Plan
    route: Route | None = None
    standing: Standing | None = None
    draft: Draft | None = None
    late_draft: asyncio.Task[Draft] | None = None
    teacher_call: asyncio.Task[Reply] | None = None
    """The teacher's call, where it began before the decision."""
    verdict: Verdict | None = None
    reason: str = ""
    is_bypass: bool = False
    is_held_out: bool = False
    propensity: float = 0.0

    @property
    def is_accepted(self) -> bool:
        """Whether the draft is to be served."""
        return self.verdict is not None and self.verdict.accepts

    @property
    def known_route(self) -> Route:
        """The route of a case which has been routed."""
        assert self.route is not None
        return self.route

    @property
    def decision(self) -> Decision:
        """Who answers and why, as one word."""
        if self.is_accepted:
            return "local"
        if self.is_bypass:
            return "bypass"
        is_audit = self.is_held_out and self.standing is not None and self.standing.serves
        return "audit" if is_audit else "escalated"

    def would_serve(self, draft: Draft | None) -> bool:
        """Return whether `draft` is valid and passes the threshold in force (in shadow the tentative)."""
        if self.is_accepted:
            return True
        if draft is None or self.standing is None or invalid_reason(draft, self.request):
            return False
        bar = self.standing.threshold if self.standing.serves else self.standing.tentative
        return bar is not None and draft.score >= bar

    def bypassed(self, reason: str) -> RequestState:
        """Return the case of a request which no specialist may touch."""
        return msgspec.structs.replace(self, is_bypass=True, reason=reason)

    def routed(self, route: Route) -> RequestState:
        """Return the case with its task named."""
        return msgspec.structs.replace(self, route=route)

    def under(self, standing: Standing, is_held_out: bool, propensity: float) -> RequestState:
        """Return the case with what its specialist is allowed and how the coin fell."""
        return msgspec.structs.replace(
            self, standing=standing, is_held_out=is_held_out, propensity=propensity
        )

    def deferred(self, reason: str, late_draft: asyncio.Task[Draft] | None = None) -> RequestState:
        """Return the case which goes to the teacher, with the reason to be counted."""
        return msgspec.structs.replace(self, reason=reason, late_draft=late_draft)

    def beside(self, teacher_call: asyncio.Task[Reply] | None) -> RequestState:
        """Return the case whose teacher has been asked already, if so."""
        return msgspec.structs.replace(self, teacher_call=teacher_call)

    def judged(self, draft: Draft, verdict: Verdict) -> RequestState:
        """Return the case with its draft and the verdict on it."""
        return msgspec.structs.replace(self, draft=draft, verdict=verdict, reason=verdict.because)
