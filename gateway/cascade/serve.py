"""The life of a request, from the question to the choice of who answers.

Nothing reaches the client before the decision, and any failure of ours on the way to it
ends with the teacher's answer.
"""

from __future__ import annotations

import asyncio
import logging
import time

import msgspec

from gateway.cascade.answers import (
    CLIENT_LEFT,
    answer_with_draft,
    answer_with_teacher,
    call_teacher,
    create_call,
    note_no_answer,
    set_aside_cost,
)
from gateway.cascade.audit_sampler import is_stored_by_teacher
from gateway.cascade.base import RequestState, Stages
from gateway.cascade.embeddings import answer_with_encoder, is_for_encoder
from gateway.cascade.hedge import await_draft, cancel_teacher_call
from gateway.cascade.private import private_reason
from gateway.confidence.shortfall import uncertified_reason
from gateway.core import Answer, Certification, Draft, Plan, Request, Route
from gateway.errors import RequestError, SpecialistAwayError, SpecialistError
from gateway.upstream.base import Reply

logger = logging.getLogger(__name__)

_PASSING = {
    "host down", "version not loaded", "draft of another version", "late", "overloaded", "engine down",
    "engine lost", "certificates unknown",
}  # fmt: skip
"""Why there is no draft at the moment, though there is a specialist."""


async def serve(request: Request, stages: Stages) -> Answer:
    """Return the answer to `request`: a specialist's where that is certified, else the teacher's.

    Embeddings come from our encoder where the policy names it.

    Raises RequestError if the policy forbids or cannot pay for the request, UpstreamError if the
    teacher was needed and not reached. Cancelling it cancels the draft and the teacher's call.
    """
    plan = stages.planner.plan(request)
    if stages.ownership:
        await stages.ownership.check(request, plan)
    state = RequestState(request=request, plan=plan)
    if is_for_encoder(state):
        return await _encode(state, stages)
    reason = plan.because or _unsupported_reason(request)
    if not reason and plan.private_kinds:
        reason = private_reason(request, plan)
    if reason:
        return await _escalate(state.bypassed(reason), stages)
    try:
        state = await try_specialist(state, stages)
    except SpecialistError as exc:
        state = state.deferred(exc.reason)
    except Exception:
        # The edge of local service: a bug here must cost money, not the client's answer.
        logger.exception("local service failed for %s", request.id)
        state = state.deferred("internal fault")
    return answer_with_draft(state, stages) if state.is_accepted else await _escalate(state, stages)


async def try_specialist(state: RequestState, stages: Stages) -> RequestState:
    """Return `state` with its route and, if a specialist exists, its draft and the verdict on it.

    For an audit or an uncertified task the draft is still being made when this returns: the
    teacher's answer is served and must not wait for it.
    """
    request, plan = state.request, state.plan
    route = await stages.router.route(request, plan.scope)
    certification = stages.certifications.of(route.task)
    is_certified = certification.serves(plan.target, time.time())
    draw = stages.sampler.sample(request, plan, certification, route)
    state = state.with_route(route, certification, is_certified, *draw)
    if certification.version is None:
        are_known = stages.certifications.are_known
        return state.deferred("no specialist yet" if are_known else "certificates unknown")
    if reason := _excess(state, certification):
        return state.deferred(reason)
    if plan.is_reserve and state.is_held_out and is_certified:
        # The draft is compared, not served: of a stream only the beginning would be.
        decided = await _decide(state, certification, route, stages, is_streamed=False)
        return decided.audited_from_reserve() if decided.is_accepted else decided
    if request.mode != "local" and (reason := _observation_reason(state)):
        if reason == "audit" and stages.is_frozen(route.task):
            # As for its other requests: labels must not tell which of them are audits.
            reason = "frozen"
        late = asyncio.create_task(_draft(state, certification, stages, is_streamed=False))
        return state.deferred(reason, late_draft=late)
    if reason := _refusal_reason(state) or ("frozen" if stages.is_frozen(route.task) else ""):
        return state.deferred(reason)
    return await _decide(state, certification, route, stages, is_streamed=request.may_begin_early)


async def _decide(
    state: RequestState, certification: Certification, route: Route, stages: Stages, *, is_streamed: bool
) -> RequestState:
    """Return `state` with the draft and the verdict on it, or with the teacher that was faster."""
    request, plan = state.request, state.plan
    hedge = _Hedge(request, plan, stages)
    try:
        drafting = _draft(state, certification, stages, is_streamed=is_streamed)
        may_hedge = plan.may_escalate and request.mode != "local"
        hedged = await await_draft(drafting, hedge.call_teacher, plan.hedge_s if may_hedge else None)
        state = state.with_teacher_call(hedged.teacher_call)
        if hedged.draft is None:
            return state.deferred(hedged.reason)
        # Not what was in force when the draft was begun: an alarm may have been given meanwhile.
        certification = stages.certifications.of(certification.task)
        verdict = stages.gate.judge_draft(hedged.draft, certification, request, plan, route)
        if hedged.teacher_call and verdict.accepts:
            await cancel_teacher_call(hedged.teacher_call)
        if hedged.draft.stream and not verdict.accepts:
            await hedged.draft.stream.aclose()
    except SpecialistError as exc:
        # Here, not in `serve`: what the task is stays known, and its cost belongs to it.
        return state.deferred(exc.reason)
    except asyncio.CancelledError:
        if hedge.has_begun:
            note_no_answer(state.deferred("late"), stages, CLIENT_LEFT)
        raise
    return state.with_verdict(hedged.draft, verdict, certification)


class _Hedge:
    """The call of the teacher beside a late draft; what it took is paid even if the client leaves."""

    def __init__(self, request: Request, plan: Plan, stages: Stages) -> None:
        self.has_begun = False
        self._request = request
        self._plan = plan
        self._stages = stages

    async def call_teacher(self) -> Reply:
        self.has_begun = True
        call = create_call(self._request, self._plan, self._stages)
        return await call_teacher(self._request, self._stages, call)


async def _draft(
    state: RequestState, certification: Certification, stages: Stages, *, is_streamed: bool
) -> Draft:
    """Return the specialist's draft with its version's score; only its beginning if streamed."""
    task, version = certification.task, certification.version
    assert version is not None
    draft_request = state.request.draft_request(is_streamed=is_streamed)
    draft = await stages.drafter.draft(task, version, draft_request, _time_for_draft(state, stages))
    return msgspec.structs.replace(draft, score=stages.scorer.score_draft(draft, certification.deferral))


def _excess(state: RequestState, certification: Certification) -> str:
    """Return what the version takes more of than the policy allows; empty if nothing, or if it is forced."""
    is_forced = state.request.mode == "local" and state.request.may_force_local
    return "" if is_forced else state.plan.constraints.excess(certification.footprint)


def _time_for_draft(state: RequestState, stages: Stages) -> float:
    """Return the seconds that a draft may still take; an audit's as many as a served one's."""
    most_ms = state.plan.constraints.max_latency_ms
    if most_ms is None or state.request.mode == "local":
        return stages.budget_s
    passed_s = time.monotonic() - state.request.received_at
    return min(stages.budget_s, max(0.0, most_ms / 1000 - passed_s))


async def _encode(state: RequestState, stages: Stages) -> Answer:
    try:
        return await answer_with_encoder(state, stages)
    except SpecialistError as exc:
        return await _escalate(state.deferred(exc.reason), stages)


async def _escalate(state: RequestState, stages: Stages) -> Answer:
    if state.request.mode == "local":
        raise _no_local_answer(state)
    try:
        state = await set_aside_cost(state, stages)
    except RequestError:
        if state.late_draft:
            state.late_draft.cancel()
        raise
    return await answer_with_teacher(state, stages)


def _no_local_answer(state: RequestState) -> RequestError:
    """Return the error of a request that only a specialist may answer."""
    param = "model" if state.request.names_specialist else "x-stepdown-mode"
    if state.reason in _PASSING:
        return SpecialistAwayError(state.reason, param=param)
    return RequestError(
        f"no specialist may answer this request: {state.reason}",
        status=404,
        param=param,
        code="model_not_found" if state.request.names_specialist else "no_specialist",
        because=state.reason,
    )


def _unsupported_reason(request: Request) -> str:
    """Return why no specialist can answer such a request at all; empty if one can."""
    return request.unsupported_reason or ("no encoder" if request.surface == "embeddings" else "")


def _observation_reason(state: RequestState) -> str:
    """Return why a draft is made for comparison only; empty if it may be served."""
    if state.route and state.route.is_on_probation:
        return "template on probation"
    if state.is_held_out and state.is_certified:
        return "audit"
    if state.request.mode == "shadow":
        return "shadow asked for"
    if not state.is_certified:
        return _uncertified_reason(state)
    return "stored by the teacher" if is_stored_by_teacher(state.request, state.plan) else ""


def _refusal_reason(state: RequestState) -> str:
    """Return why a caller gets no local answer, asked for or certified; empty if it may get one."""
    if state.request.mode == "local" and (reason := _local_refusal(state)):
        return reason
    return "" if state.request.is_trusted else "caller not yet accepted by the teacher"


def _local_refusal(state: RequestState) -> str:
    """Return why a caller that asked for a local answer gets none; empty if it may get one."""
    if state.request.may_force_local:
        return ""
    if state.route and state.route.is_on_probation:
        return "template on probation"
    return "" if state.is_certified else _uncertified_reason(state)


def _uncertified_reason(state: RequestState) -> str:
    assert state.certification is not None
    return uncertified_reason(state.certification, state.plan.target, time.time())
