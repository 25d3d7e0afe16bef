"""Answers from a draft, an encoder or the teacher; each leaves exactly one Outcome behind."""

from __future__ import annotations

import asyncio
import time

import msgspec

from gateway.cascade.base import RequestState, Stages, budget_spent
from gateway.cascade.hedge import cancel_teacher_call
from gateway.cascade.keepalive import KeepaliveBody
from gateway.cascade.recorder import Recorder
from gateway.core import Answer, Body, Draft, DraftStream, Header, Plan, Request
from gateway.errors import UpstreamError
from gateway.policy.ownership import list_named_objects
from gateway.upstream.base import Call, Reply
from gateway.wire.surfaces import Renderer, codec_of

CLIENT_LEFT = 499
"""The status of a request that its client left before the answer began."""
UNSURE_OR_AUDITED = "unsure or audited"
_UNSURE_OR_AUDITED = frozenset(
    {"audit", "unsure", "unfamiliar text", "form not certified", "template on probation"}
)


def answer_with_draft(state: RequestState, stages: Stages) -> Answer:
    """Return the specialist's draft as an answer, in OpenAI's exact shape."""
    request, draft = state.request, state.draft
    assert draft is not None
    renderer = codec_of(request).create_renderer(request, time.time)
    kind = b"text/event-stream; charset=utf-8" if request.is_streamed else b"application/json"
    headers = [(b"content-type", kind), (b"x-request-id", request.id.encode())]
    if draft.stream is not None:
        body: Body = _DraftStreamBody(renderer, request, draft, draft.stream, stages)
    else:
        usage = stages.estimate_usage(request, draft.text)
        render = renderer.render_stream if request.is_streamed else renderer.render_whole
        content = render(draft, usage)
        body = _OnePieceBody(content)
        if not request.is_streamed:
            headers.append((b"content-length", str(len(content)).encode()))
    return _local_answer(state, stages, tuple(headers), body, f"{draft.task}@{draft.version}")


def answer_with_content(state: RequestState, stages: Stages, content: bytes, served_by: str) -> Answer:
    """Return finished JSON as an answer, labeled as served by `served_by`."""
    headers = (
        (b"content-type", b"application/json"),
        (b"x-request-id", state.request.id.encode()),
        (b"content-length", str(len(content)).encode()),
    )
    return _local_answer(state, stages, headers, _OnePieceBody(content), served_by)


def create_call(request: Request, plan: Plan, stages: Stages) -> Call:
    """Return the call with the client's own bytes."""
    has_choice = stages.has_teachers and len(plan.teachers) != 1
    return Call(
        method="POST",
        target=request.target,
        headers=stages.teacher_headers(request),
        body=request.body,
        is_repeatable=True,
        teachers=plan.teachers,
        weights=plan.weights,
        first_byte_s=plan.first_byte_s,
        idle_s=plan.idle_s,
        needs_same_model=request.surface == "embeddings",
        is_bound=has_choice and _is_bound(request),
    )


async def call_teacher(request: Request, stages: Stages, call: Call) -> Reply:
    """Return the teacher's reply to `call`. Raises UpstreamError if there is none."""
    if stages.ownership is None or not stages.ownership.follows(request):
        return await stages.teacher.ask(call)
    # Its objects must be read before it leaves, so it must come as plain bytes.
    headers = tuple(header for header in call.headers if header[0] != b"accept-encoding")
    headers += ((b"accept-encoding", b"identity"),)
    reply = await stages.teacher.ask(msgspec.structs.replace(call, headers=headers))
    if reply.status >= 400:
        return reply
    is_stream = any(
        name == b"content-type" and value.startswith(b"text/event-stream") for name, value in reply.headers
    )
    body = stages.ownership.note_owner(request, reply.body, is_stream=is_stream)
    return msgspec.structs.replace(reply, body=body)


async def set_aside_cost(state: RequestState, stages: Stages) -> RequestState:
    """Return `state` with what the teacher's answer may cost set aside. Raises RequestError (429).

    The reserve of a budget is kept for audits where a certificate is in force.
    """
    plan = state.plan
    if not plan.may_escalate and (state.is_certified or not plan.is_reserve):
        raise budget_spent(plan)
    if stages.budgets is None or state.teacher_call is not None:
        # A teacher that was asked beside a late draft is paid already.
        return state
    return state.with_reservation(await stages.budgets.reserve(state.request, plan.budgets))


async def answer_with_teacher(state: RequestState, stages: Stages, call: Call | None = None) -> Answer:
    """Return the teacher's answer, bytes untouched; to `call` where that is not the chat's own POST.

    Raises UpstreamError if there is none, RequestError if an upload breaks a limit on its way.
    """
    try:
        reply, hides_usage = await _reply_of_teacher(state, stages, call)
    except (UpstreamError, asyncio.CancelledError) as exc:
        note_no_answer(state, stages, CLIENT_LEFT if isinstance(exc, asyncio.CancelledError) else 502)
        if state.teacher_call is not None:
            # Its reply may have come in the very moment in which the client left: nothing else closes it.
            await cancel_teacher_call(state.teacher_call)
        raise
    if hides_usage:
        state = msgspec.structs.replace(state, hides_usage=True)
    if not reply.is_lesson:
        state = state.without_lesson()
    recorder = Recorder(state, stages, reply.status, reply.headers, reply.served_by)
    labels = _labels(state, reply.served_by or "teacher")
    body = recorder.record_body(reply.body)
    if state.plan.keepalive_s is not None and recorder.can_append:
        body = KeepaliveBody(body, state.plan.keepalive_s)
    return Answer(
        status=reply.status,
        headers=reply.headers,
        body=body,
        labels=labels,
        details=_details(state, labels),
    )


def note_no_answer(state: RequestState, stages: Stages, status: int) -> None:
    """Leave the Outcome of a request for which the teacher was asked and that got no answer."""
    Recorder(state, stages, status, ()).finish(is_complete=False)


async def _reply_of_teacher(state: RequestState, stages: Stages, call: Call | None) -> tuple[Reply, bool]:
    """Return the teacher's reply, and whether its usage must be kept from the client."""
    request, asker = state.request, stages.usage_asker
    if state.teacher_call is not None:
        return await state.teacher_call, False
    call = call or create_call(request, state.plan, stages)
    changed = asker.change_call(call, request, state.plan) if asker else None
    if asker is None or changed is None:
        return await call_teacher(request, stages, call), False
    return await asker.ask(call, changed, request, lambda each: call_teacher(request, stages, each))


def _is_bound(request: Request) -> bool:
    """Whether only its teacher can answer: it makes or names what that one keeps, or its model is hidden."""
    return (
        request.is_stored
        or request.decoded is not None
        # Reasoning that only its author can read again.
        or b'"encrypted_content"' in request.body
        or bool(list_named_objects(request))
    )


def _local_answer(
    state: RequestState, stages: Stages, headers: tuple[Header, ...], body: Body, served_by: str
) -> Answer:
    recorder = Recorder(state, stages, 200, headers)
    labels = _labels(state, served_by)
    return Answer(
        status=200,
        headers=headers,
        body=recorder.record_body(body),
        labels=labels,
        details=_details(state, labels),
    )


class _OnePieceBody:
    """A body of one piece."""

    def __init__(self, content: bytes) -> None:
        self._content: bytes | None = content

    def __aiter__(self) -> _OnePieceBody:
        return self

    async def __anext__(self) -> bytes:
        content, self._content = self._content, None
        if content is None:
            raise StopAsyncIteration
        return content

    async def aclose(self) -> None:
        self._content = None


class _DraftStreamBody:
    """The event stream of a draft that is still being written.

    Nothing in it is ever taken back: after the first event the client gets this answer to its
    end, or an error event. Raises SpecialistError if the specialist breaks off.
    """

    def __init__(
        self, renderer: Renderer, request: Request, draft: Draft, stream: DraftStream, stages: Stages
    ) -> None:
        self._renderer = renderer
        self._request = request
        self._draft = draft
        self._stream = stream
        self._estimate_usage = stages.estimate_usage
        self._texts: list[str] = []
        self._is_over = False

    def __aiter__(self) -> _DraftStreamBody:
        return self

    async def __anext__(self) -> bytes:
        if self._is_over:
            raise StopAsyncIteration
        if not self._texts:
            self._texts.append(self._draft.text)
            return self._renderer.render_opening(self._draft)
        try:
            self._texts.append(await anext(self._stream))
        except StopAsyncIteration:
            self._is_over = True
            usage = self._estimate_usage(self._request, "".join(self._texts))
            return self._renderer.render_closing(self._stream.finish_reason, usage)
        return self._renderer.render_piece(self._texts[-1])

    async def aclose(self) -> None:
        self._is_over = True
        await self._stream.aclose()


def _labels(state: RequestState, served_by: str) -> tuple[Header, ...]:
    """Return what any caller may know. It names no audit: who knows one could repeat what it knows right."""
    decision = "escalated" if state.decision == "audit" else state.decision
    reason = UNSURE_OR_AUDITED if state.reason in _UNSURE_OR_AUDITED else state.reason
    labels = [
        (b"x-stepdown-served-by", served_by.encode()),
        (b"x-stepdown-decision", decision.encode()),
        (b"x-stepdown-reason", reason.encode()),
    ]
    if state.route:
        labels.append((b"x-stepdown-route", state.route.task.encode()))
    return tuple(labels)


def _details(state: RequestState, labels: tuple[Header, ...]) -> tuple[Header, ...]:
    """Return what a caller that the operator vouches for may know."""
    details = [label for label in labels if label[0] != b"x-stepdown-reason"]
    details.append((b"x-stepdown-reason", state.reason.encode()))
    if state.decision == "audit":
        details.append((b"x-stepdown-audit", b"true"))
    if state.draft:
        details.append((b"x-stepdown-score", f"{state.draft.score:.4f}".encode()))
    if state.verdict and state.verdict.threshold is not None:
        details.append((b"x-stepdown-threshold", f"{state.verdict.threshold:.4f}".encode()))
    return tuple(details)
