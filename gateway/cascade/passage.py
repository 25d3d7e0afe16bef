"""Requests that only the teacher answers: under the same policies, and counted like all others."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from gateway.cascade.answers import answer_with_teacher, set_aside_cost
from gateway.cascade.base import RequestState, Stages, budget_spent
from gateway.cascade.recorder import Recorder
from gateway.cascade.websocket_session import WebsocketSession
from gateway.core import Answer, Plan, Request
from gateway.upstream.base import Call, Reply

# RFC 9110 section 9.2.2: asking twice does no more than asking once.
_IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


# What keeps nothing and names nothing that is kept: any teacher can answer it.
_STATELESS = frozenset(
    {"/v1/models", "/v1/models/{model*}", "/v1/completions", "/v1/moderations"}
    | {"/v1/images/generations", "/v1/audio/speech"}
)


async def pass_through(request: Request, body: bytes | AsyncIterator[bytes], stages: Stages) -> Answer:
    """Return the teacher's answer to `request`; `body` is sent piece by piece.

    Raises RequestError if the policy forbids or cannot pay for the request, UpstreamError if the
    teacher was not reached.
    """
    plan = stages.planner.plan(request)
    if stages.ownership:
        await stages.ownership.check(request, plan)
    state = RequestState(request=request, plan=plan).bypassed(plan.because or "only the teacher has it")
    if _costs_money(request):
        state = await set_aside_cost(state, stages)
    return await answer_with_teacher(state, stages, _create_call(request, plan, body, stages))


class Tunnel(msgspec.Struct, frozen=True):
    """The teacher's reply to a websocket's handshake, and the account of what is said if it agrees."""

    reply: Reply
    session: WebsocketSession


async def open_tunnel(request: Request, stages: Stages) -> Tunnel:
    """Return the teacher's reply to a websocket's handshake. Raises like `pass_through`.

    The handshake leaves an Outcome, and later each response that the session notes.
    """
    plan = stages.planner.plan(request)
    if not plan.may_escalate:
        raise budget_spent(plan)
    if stages.ownership:
        await stages.ownership.check(request, plan)
    if stages.budgets:
        await stages.budgets.load_prices()
    state = RequestState(request=request, plan=plan).bypassed("websocket")
    reply = await stages.teacher.ask(_create_call(request, plan, b"", stages, may_switch=True))
    Recorder(state, stages, reply.status, reply.headers).finish(is_complete=True)
    return Tunnel(reply, WebsocketSession(request, plan, stages))


def _create_call(
    request: Request,
    plan: Plan,
    body: bytes | AsyncIterator[bytes],
    stages: Stages,
    *,
    may_switch: bool = False,
) -> Call:
    method = request.resource.method
    return Call(
        method=method,
        target=request.target,
        headers=stages.teacher_headers(request),
        body=body,
        is_idempotent=isinstance(body, bytes) and method in _IDEMPOTENT_METHODS,
        may_switch=may_switch,
        teachers=plan.teachers,
        first_byte_s=plan.first_byte_s,
        idle_s=plan.idle_s,
        is_bound=may_switch or not _is_stateless(request, body),
    )


def _is_stateless(request: Request, body: bytes | AsyncIterator[bytes]) -> bool:
    """Whether any teacher can answer: files, batches and threads are where they were made.

    In a body that is streamed or encoded no teacher's own name of the model can be written.
    """
    endpoint = request.resource.endpoint
    return (
        endpoint is not None
        and endpoint.path in _STATELESS
        and isinstance(body, bytes)
        and request.decoded is None
    )


def _costs_money(request: Request) -> bool:
    """Return whether the teacher may bill `request`: what the table does not know may cost anything."""
    endpoint = request.resource.endpoint
    if endpoint is None:
        return True
    return endpoint.model != "none"
