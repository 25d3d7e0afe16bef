"""The stages that the flow asks, and the state of one request on its way through them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from operator import attrgetter
from typing import Protocol

import msgspec

from gateway.cascade.usage_asking import UsageAsker
from gateway.confidence.deferral import Scorer
from gateway.confidence.gate import Gate
from gateway.core import (
    Body,
    Budget,
    Certification,
    Certifications,
    Decision,
    Draft,
    Header,
    Outcome,
    Plan,
    Request,
    Reservation,
    Route,
    Usage,
    Verdict,
    find_period,
)
from gateway.errors import BudgetSpentError
from gateway.specialists.base import Drafter
from gateway.upstream.base import Reply, Teacher
from gateway.wire.object_ids import MadeObject


class Planner(Protocol):
    """The policies."""

    def plan(self, request: Request) -> Plan:
        """Return what is allowed for `request`. Never blocks. Raises RequestError if it is forbidden."""


class Ownership(Protocol):
    """The owners of the objects that the teacher keeps."""

    async def check(self, request: Request, plan: Plan) -> None:
        """Raise RequestError if `request` names an object that is not its tenant's."""

    async def check_ids(self, ids: Sequence[str], tenant: str) -> None:
        """Raise RequestError if one of `ids` is not an object of `tenant`."""

    def note(self, made: Iterable[MadeObject], tenant: str) -> object:
        """Remember these as objects of `tenant`. Never blocks."""

    def follows(self, request: Request) -> bool:
        """Return whether the answer to `request` may tell of new objects."""

    def note_owner(self, request: Request, body: Body, *, is_stream: bool) -> Body:
        """Return `body`, held back where it tells of new objects until their owner is noted."""


class BudgetKeeper(Protocol):
    """The money that may be spent, over all workers."""

    async def reserve(self, request: Request, budgets: tuple[Budget, ...]) -> Reservation | None:
        """Set aside what `request` may cost, until its Outcome leaves. Raises RequestError (429)."""

    async def load_prices(self) -> None:
        """Return once `set_aside` can be asked."""

    def set_aside(self, request: Request, budgets: tuple[Budget, ...]) -> Reservation | None:
        """Do as `reserve`, at once: for what comes in the order of its messages."""

    def settle(self, reservation: Reservation | None, usd: float) -> None:
        """Replace what was set aside by what was really paid."""


class Router(Protocol):
    """The naming of tasks."""

    async def route(self, request: Request, scope: str) -> Route:
        """Return the task of `request` in `scope`, a new one if no known task fits.

        May raise SpecialistError.
        """


class AuditSampler(Protocol):
    """The random choice of audits, independent of every decision."""

    def sample(
        self, request: Request, plan: Plan, certification: Certification, route: Route
    ) -> tuple[bool, float]:
        """Return whether `request` is held out as evidence, and the probability of that.

        At equal probability, equal content gets an equal answer.
        """


TeacherCall = asyncio.Task[Reply]
"""A call of the teacher that is under way."""

EmbedTexts = Callable[[Sequence[str]], Awaitable[list[bytes]]]
"""Texts to their float32 vectors, in order. Raises SpecialistError."""

Observer = Callable[[Outcome], object]
"""Takes an Outcome off the flow; must not block and must not raise."""


class Stages(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the flow asks, in the order of asking."""

    planner: Planner
    router: Router
    certifications: Certifications
    sampler: AuditSampler
    drafter: Drafter
    embed: EmbedTexts
    is_frozen: Callable[[str], bool] = lambda _: False
    """Whether an operator has left a task to the teacher alone. Never blocks."""
    scorer: Scorer
    gate: Gate
    teacher: Teacher
    has_teachers: bool = False
    """Whether there is more than one teacher."""
    observe: Observer
    estimate_usage: Callable[[Request, str], Usage]
    """The tokens that the teacher would have counted for a request and an answer."""
    teacher_headers: Callable[[Request], tuple[Header, ...]] = attrgetter("headers")
    """The client's headers as the teacher gets them."""
    budgets: BudgetKeeper | None = None
    """None: nothing has a budget."""
    usage_asker: UsageAsker | None = None
    """None: no stream is asked for what its client did not ask for."""
    ownership: Ownership | None = None
    """None: there is one tenant, or the clients' own credentials tell the teacher what is theirs."""
    budget_s: float
    """Seconds that a draft may take before the teacher is called instead."""


class RequestState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything known about one request so far; each step returns a new state."""

    request: Request
    plan: Plan
    route: Route | None = None
    certification: Certification | None = None
    is_certified: bool = False
    """Whether drafts of the task may be served to this request's policy."""
    draft: Draft | None = None
    late_draft: asyncio.Task[Draft] | None = None
    """The draft of an audit or a shadow; the answer does not wait for it."""
    teacher_call: TeacherCall | None = None
    """The teacher's call, if it began before the decision."""
    verdict: Verdict | None = None
    reservation: Reservation | None = None
    hides_usage: bool = False
    """Whether the teacher's stream was asked for usage that the client must not see."""
    reason: str = ""
    is_bypass: bool = False
    is_held_out: bool = False
    propensity: float = 0.0

    @property
    def is_accepted(self) -> bool:
        """Whether the draft will be served."""
        return self.verdict is not None and self.verdict.accepts

    @property
    def decision(self) -> Decision:
        """Who answers and why, as one word."""
        if self.is_accepted:
            return "local"
        if self.is_bypass:
            return "bypass"
        return "audit" if self.is_held_out and self.is_certified else "escalated"

    def bypassed(self, reason: str) -> RequestState:
        """Return the state of a request that no specialist may answer."""
        return msgspec.structs.replace(self, is_bypass=True, reason=reason)

    def deferred(self, reason: str, late_draft: asyncio.Task[Draft] | None = None) -> RequestState:
        """Return the state of a request that goes to the teacher for `reason`."""
        return msgspec.structs.replace(self, reason=reason, late_draft=late_draft)

    def with_route(
        self,
        route: Route,
        certification: Certification,
        is_certified: bool,
        is_held_out: bool,
        propensity: float,
    ) -> RequestState:
        """Return the state with its task, what the task's specialist may do, and the draw for an audit."""
        return msgspec.structs.replace(
            self,
            route=route,
            certification=certification,
            is_certified=is_certified,
            is_held_out=is_held_out,
            propensity=propensity,
        )

    def with_reservation(self, reservation: Reservation | None) -> RequestState:
        """Return the state with what was set aside for the teacher's answer."""
        if reservation is None:
            return self
        return msgspec.structs.replace(self, reservation=reservation)

    def without_lesson(self) -> RequestState:
        """Return the state of a request with an answer that is neither lesson nor evidence."""
        plan = msgspec.structs.replace(self.plan, may_harvest=False)
        return msgspec.structs.replace(self, plan=plan, is_held_out=False, propensity=0.0)

    def with_teacher_call(self, teacher_call: TeacherCall | None) -> RequestState:
        """Return the state with the teacher's call, if one has begun."""
        return msgspec.structs.replace(self, teacher_call=teacher_call)

    def audited_from_reserve(self) -> RequestState:
        """Return the state of an accepted draft that the teacher's answer is to be compared with."""
        plan = msgspec.structs.replace(self.plan, may_escalate=True)
        return msgspec.structs.replace(self, plan=plan, verdict=None, reason="audit")

    def with_verdict(self, draft: Draft, verdict: Verdict, certification: Certification) -> RequestState:
        """Return the state with its draft and the verdict on it, reached under `certification`."""
        return msgspec.structs.replace(
            self, draft=draft, verdict=verdict, reason=verdict.because, certification=certification
        )


def budget_spent(plan: Plan) -> BudgetSpentError:
    """Return the refusal of a request that needs the teacher when a budget of the policy is spent."""
    now = time.time()
    _, _, resets_at = find_period(plan.spent_period, now)
    budget = f"the budget of policy '{plan.policy}' for this {plan.spent_period} (UTC)"
    return BudgetSpentError(budget, resets_at=resets_at, now=now, policy=plan.policy)
