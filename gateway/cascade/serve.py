"""The life of a request, from what was asked to who answers it.

Nothing reaches the client before the decision, and whatever fails on our side of it ends
with the teacher's answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from operator import attrgetter

import msgspec

from gateway.cascade.answers import ask_teacher, from_draft, from_teacher
from gateway.cascade.base import (
    AuditSampler,
    Gate,
    Observer,
    Planner,
    RequestState,
    Router,
    Scorer,
    Standings,
)
from gateway.cascade.embeddings import Embed, from_encoder, is_encoded
from gateway.cascade.hedge import drop, race
from gateway.core import Answer, Draft, Header, Plan, Request, Standing, Usage
from gateway.errors import RequestError, SpecialistError
from gateway.specialists.base import Drafter
from gateway.upstream.base import Teacher

logger = logging.getLogger(__name__)


class Stages(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the flow asks on its way, in the order of asking."""

    planner: Planner
    router: Router
    standings: Standings
    sampler: AuditSampler
    drafter: Drafter
    embed: Embed
    scorer: Scorer
    judge: Gate
    teacher: Teacher
    observe: Observer
    estimate_usage: Callable[[Request, str], Usage]
    teacher_headers: Callable[[Request], tuple[Header, ...]] = attrgetter("headers")
    """The client's headers as the teacher is to see them."""
    budget_s: float
    """How long a draft may take before the teacher is asked instead."""


async def serve(request: Request, stages: Stages) -> Answer:
    """Return the answer to `request`: a specialist's where that is certified, else the teacher's.

    Embeddings come from an encoder of ours where the policy names one.

    Raises RequestError for what the policy forbids or cannot pay, UpstreamError when the teacher was
    needed and could not be reached. Cancelling it cancels the draft and the teacher's call.
    """
    plan = stages.planner.plan(request)
    state = RequestState(request=request, plan=plan)
    if is_encoded(state):
        return await _encode(state, stages)
    if reason := plan.because or _beyond(request):
        return await _escalate(state.bypassed(reason), stages)
    try:
        state = await try_specialist(state, stages)
    except SpecialistError as fault:
        state = state.deferred(fault.reason)
    except Exception:
        # The edge of local service: a bug here must cost money, not the client's answer.
        logger.exception("local service failed for %s", request.id)
        state = state.deferred("internal fault")
    return from_draft(state, stages) if state.is_accepted else await _escalate(state, stages)


async def try_specialist(state: RequestState, stages: Stages) -> RequestState:
    """Return `state` with its route and, where a specialist exists, its draft and verdict.

    An audited or uncertified request leaves with its draft still in the making: the
    teacher's answer is served and must not wait for it.
    """
    request = state.request
    state = state.routed(await stages.router.route(request))
    standing = _within_policy(state.plan, stages.standings.of(state.known_route))
    state = state.under(standing, *stages.sampler.sample(request, state.plan, standing))
    if standing.version is None:
        return state.deferred("no specialist yet")
    is_watched = not standing.serves or request.mode == "shadow" or _is_kept_elsewhere(state)
    if request.mode != "local" and (state.is_held_out or is_watched):
        late = asyncio.create_task(_draft(state, standing, stages, is_streamed=False))
        reason = "audit" if state.is_held_out and standing.serves else _why_shadow(state)
        return state.deferred(reason, late_draft=late)
    if not request.is_trusted:
        return state.deferred("caller not yet accepted by the teacher")
    return await _decide(state, standing, stages)


async def _decide(state: RequestState, standing: Standing, stages: Stages) -> RequestState:
    """Return `state` with the draft and the verdict on it, or with a teacher who was faster."""
    request, plan = state.request, state.plan
    drafting = _draft(state, standing, stages, is_streamed=request.may_begin_early)
    may_hedge = plan.may_escalate and request.mode != "local"
    ended = await race(drafting, lambda: ask_teacher(state, stages), plan.hedge_s if may_hedge else None)
    state = state.beside(ended.teacher_call)
    if ended.draft is None:
        return state.deferred(ended.reason)
    verdict = stages.judge.judge_draft(ended.draft, standing, request)
    if ended.teacher_call and verdict.accepts:
        await drop(ended.teacher_call)
    if ended.draft.stream and not verdict.accepts:
        await ended.draft.stream.aclose()
    return state.judged(ended.draft, verdict)


async def _encode(state: RequestState, stages: Stages) -> Answer:
    try:
        return await from_encoder(state, stages)
    except SpecialistError as fault:
        return await _escalate(state.deferred(fault.reason), stages)


async def _escalate(state: RequestState, stages: Stages) -> Answer:
    if state.request.mode == "local":
        raise RequestError(
            f"no specialist may answer this request: {state.reason}",
            status=404,
            param="model" if state.request.names_specialist else "x-stepdown-mode",
            code="model_not_found" if state.request.names_specialist else "no_specialist",
        )
    if state.plan.may_escalate:
        return await from_teacher(state, stages)
    if state.late_draft:
        state.late_draft.cancel()
    raise RequestError(
        f"today's budget (UTC) of policy '{state.plan.policy}' is spent, and no specialist may answer this",
        status=429,
        code="budget_exceeded",
        kind="insufficient_quota",
    )


def _beyond(request: Request) -> str:
    """Return why no specialist can answer at all; empty when one may."""
    return request.unsupported_reason or ("no encoder" if request.surface == "embeddings" else "")


def _within_policy(plan: Plan, standing: Standing) -> Standing:
    """Return `standing` without its threshold where the policy now asks for more than was certified."""
    if standing.alpha <= plan.alpha and standing.delta <= plan.delta:
        return standing
    return msgspec.structs.replace(standing, threshold=None)


async def _draft(state: RequestState, standing: Standing, stages: Stages, *, is_streamed: bool) -> Draft:
    """Return the specialist's draft under its version's score, or only its beginning if streamed."""
    assert standing.version is not None
    draft_request = state.request.draft_request(is_streamed=is_streamed)
    draft = await stages.drafter.draft(
        state.known_route.task, standing.version, draft_request, stages.budget_s
    )
    return msgspec.structs.replace(draft, score=stages.scorer.score_draft(draft, standing.deferral))


def _is_kept_elsewhere(state: RequestState) -> bool:
    """Whether the client may come back to the teacher for this answer: we could not give it then."""
    return state.request.is_stored_by_default and not state.plan.may_serve_stored


def _why_shadow(state: RequestState) -> str:
    if state.request.mode == "shadow":
        return "shadow asked for"
    if state.standing and state.standing.serves:
        return "stored by the teacher"
    return "alarm" if state.standing and state.standing.stage == "alarm" else "not certified yet"
