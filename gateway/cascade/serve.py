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
from gateway.cascade.base import Case, Coin, Judge, Observer, Planner, Router, Scorer, Standings
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
    coin: Coin
    drafter: Drafter
    embed: Embed
    scorer: Scorer
    judge: Judge
    teacher: Teacher
    observe: Observer
    estimate_usage: Callable[[Request, str], Usage]
    outgoing: Callable[[Request], tuple[Header, ...]] = attrgetter("headers")
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
    case = Case(request=request, plan=plan)
    if is_encoded(case):
        return await _encode(case, stages)
    if reason := plan.because or _beyond(request):
        return await _escalate(case.bypassed(reason), stages)
    try:
        case = await consider(case, stages)
    except SpecialistError as fault:
        case = case.deferred(fault.reason)
    except Exception:
        # The edge of local service: a bug here must cost money, not the client's answer.
        logger.exception("local service failed for %s", request.id)
        case = case.deferred("internal fault")
    return from_draft(case, stages) if case.is_accepted else await _escalate(case, stages)


async def consider(case: Case, stages: Stages) -> Case:
    """Return `case` with its route and, where a specialist exists, its draft and verdict.

    An audited or uncertified request leaves with its draft still in the making: the
    teacher's answer is served and must not wait for it.
    """
    request = case.request
    case = case.routed(await stages.router.route(request))
    standing = _kept_to(case.plan, stages.standings.of(case.known_route))
    case = case.under(standing, *stages.coin.toss(request, case.plan, standing))
    if standing.version is None:
        return case.deferred("no specialist yet")
    is_watched = not standing.serves or request.mode == "shadow" or _is_kept_elsewhere(case)
    if request.mode != "local" and (case.is_held_out or is_watched):
        late = asyncio.create_task(_draft(case, standing, stages, is_streamed=False))
        reason = "audit" if case.is_held_out and standing.serves else _why_shadow(case)
        return case.deferred(reason, late_draft=late)
    if not request.is_trusted:
        return case.deferred("caller not yet accepted by the teacher")
    return await _decide(case, standing, stages)


async def _decide(case: Case, standing: Standing, stages: Stages) -> Case:
    """Return `case` with the draft and the verdict on it, or with a teacher who was faster."""
    request, plan = case.request, case.plan
    drafting = _draft(case, standing, stages, is_streamed=request.may_begin_early)
    may_hedge = plan.may_escalate and request.mode != "local"
    ended = await race(drafting, lambda: ask_teacher(case, stages), plan.hedge_s if may_hedge else None)
    case = case.beside(ended.asking)
    if ended.draft is None:
        return case.deferred(ended.reason)
    verdict = stages.judge.judge(ended.draft, standing, request)
    if ended.asking and verdict.accepts:
        await drop(ended.asking)
    if ended.draft.rest and not verdict.accepts:
        await ended.draft.rest.aclose()
    return case.judged(ended.draft, verdict)


async def _encode(case: Case, stages: Stages) -> Answer:
    try:
        return await from_encoder(case, stages)
    except SpecialistError as fault:
        return await _escalate(case.deferred(fault.reason), stages)


async def _escalate(case: Case, stages: Stages) -> Answer:
    if case.request.mode == "local":
        raise RequestError(
            f"no specialist may answer this request: {case.reason}",
            status=404,
            param="model" if case.request.names_specialist else "x-stepdown-mode",
            code="model_not_found" if case.request.names_specialist else "no_specialist",
        )
    if case.plan.may_escalate:
        return await from_teacher(case, stages)
    if case.late_draft:
        case.late_draft.cancel()
    raise RequestError(
        f"today's budget (UTC) of policy '{case.plan.policy}' is spent, and no specialist may answer this",
        status=429,
        code="budget_exceeded",
        kind="insufficient_quota",
    )


def _beyond(request: Request) -> str:
    """Return why no specialist can answer at all; empty when one may."""
    return request.beyond_specialists or ("no encoder" if request.surface == "embeddings" else "")


def _kept_to(plan: Plan, standing: Standing) -> Standing:
    """Return `standing` without its threshold where the policy now asks for more than was certified."""
    if standing.alpha <= plan.alpha and standing.delta <= plan.delta:
        return standing
    return msgspec.structs.replace(standing, threshold=None)


async def _draft(case: Case, standing: Standing, stages: Stages, *, is_streamed: bool) -> Draft:
    """Return the specialist's draft under its version's score, or only its beginning if streamed."""
    assert standing.version is not None
    brief = case.request.brief(is_streamed=is_streamed)
    draft = await stages.drafter.draft(case.known_route.task, standing.version, brief, stages.budget_s)
    return msgspec.structs.replace(draft, score=stages.scorer.score(draft, standing.deferral))


def _is_kept_elsewhere(case: Case) -> bool:
    """Whether the client may come back to the teacher for this answer: we could not give it then."""
    return case.request.is_stored_by_default and not case.plan.may_serve_stored


def _why_shadow(case: Case) -> str:
    if case.request.mode == "shadow":
        return "shadow asked for"
    if case.standing and case.standing.serves:
        return "stored by the teacher"
    return "alarm" if case.standing and case.standing.stage == "alarm" else "not certified yet"
