"""An answer from a specialist's draft, or from the teacher, each leaving one Outcome behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from gateway.cascade.base import Observer, RequestState
from gateway.cascade.recorder import Recorder
from gateway.core import Answer, Body, Draft, DraftStream, Header, Request, Usage
from gateway.errors import UpstreamError
from gateway.upstream.base import Call, Reply, Teacher
from gateway.wire.surfaces import Writer, surface_of


class Sources(Protocol):
    """What answers are made from; the Stages of the flow are such a thing."""

    @property
    def teacher(self) -> Teacher:
        """The hosted giant."""

    @property
    def teacher_headers(self) -> Callable[[Request], tuple[Header, ...]]:
        """The client's headers as the teacher is to see them."""

    @property
    def observe(self) -> Observer:
        """Takes the Outcome."""

    @property
    def estimate_usage(self) -> Callable[[Request, str], Usage]:
        """Tokens which the teacher would have counted for a request and an answer."""


def from_draft(state: RequestState, sources: Sources) -> Answer:
    """Return the specialist's draft as the answer, in OpenAI's exact shape."""
    request, draft = state.request, state.draft
    assert draft is not None
    writer = surface_of(request).begin(request, time.time)
    kind = b"text/event-stream; charset=utf-8" if request.is_streamed else b"application/json"
    headers = [(b"content-type", kind), (b"x-request-id", request.id.encode())]
    if draft.stream is not None:
        body: Body = _Continued(writer, request, draft, draft.stream, sources)
    else:
        usage = sources.estimate_usage(request, draft.text)
        content = writer.stream(draft, usage) if request.is_streamed else writer.whole(draft, usage)
        body = _Once(content)
        if not request.is_streamed:
            headers.append((b"content-length", str(len(content)).encode()))
    return _served(state, sources, tuple(headers), body, f"{draft.task}@{draft.version}")


def from_content(state: RequestState, sources: Sources, content: bytes, served_by: str) -> Answer:
    """Return JSON which something else than a draft is made of as the answer."""
    headers = (
        (b"content-type", b"application/json"),
        (b"x-request-id", state.request.id.encode()),
        (b"content-length", str(len(content)).encode()),
    )
    return _served(state, sources, headers, _Once(content), served_by)


async def ask_teacher(state: RequestState, sources: Sources) -> Reply:
    """Return the teacher's reply to the client's own bytes. Raises UpstreamError when there is none."""
    request = state.request
    call = Call(
        method="POST",
        target=request.target,
        headers=sources.teacher_headers(request),
        body=request.body,
        is_repeatable=True,
    )
    return await sources.teacher.ask(call)


async def from_teacher(state: RequestState, sources: Sources) -> Answer:
    """Return the teacher's answer, bytes untouched. Raises UpstreamError when there is none."""
    try:
        reply = await (state.teacher_call or ask_teacher(state, sources))
    except (UpstreamError, asyncio.CancelledError) as fault:
        status = 499 if isinstance(fault, asyncio.CancelledError) else 502
        Recorder(state, sources.observe, status, ()).finish(is_complete=False)
        raise
    recorder = Recorder(state, sources.observe, reply.status, reply.headers)
    return Answer(
        status=reply.status,
        headers=reply.headers,
        body=recorder.follow(reply.body),
        labels=_labels(state, "teacher"),
    )


def _served(
    state: RequestState, sources: Sources, headers: tuple[Header, ...], body: Body, served_by: str
) -> Answer:
    recorder = Recorder(state, sources.observe, 200, headers)
    labels = _labels(state, served_by)
    return Answer(status=200, headers=headers, body=recorder.follow(body), labels=labels)


class _Once:
    """A body of one piece."""

    def __init__(self, content: bytes) -> None:
        self._content: bytes | None = content

    def __aiter__(self) -> _Once:
        return self

    async def __anext__(self) -> bytes:
        content, self._content = self._content, None
        if content is None:
            raise StopAsyncIteration
        return content

    async def aclose(self) -> None:
        self._content = None


class _Continued:
    """The event stream of a draft which is still being written.

    Nothing in it is ever taken back: whoever reads the first event gets this answer to its end,
    or an error event. Raises SpecialistError when the specialist broke off.
    """

    def __init__(
        self, writer: Writer, request: Request, draft: Draft, stream: DraftStream, sources: Sources
    ) -> None:
        self._writer = writer
        self._request = request
        self._draft = draft
        self._stream = stream
        self._estimate_usage = sources.estimate_usage
        self._texts: list[str] = []
        self._is_over = False

    def __aiter__(self) -> _Continued:
        return self

    async def __anext__(self) -> bytes:
        if self._is_over:
            raise StopAsyncIteration
        if not self._texts:
            self._texts.append(self._draft.text)
            return self._writer.opening(self._draft)
        try:
            self._texts.append(await anext(self._stream))
        except StopAsyncIteration:
            self._is_over = True
            usage = self._estimate_usage(self._request, "".join(self._texts))
            return self._writer.closing(self._stream.finish_reason, usage)
        return self._writer.piece(self._texts[-1])

    async def aclose(self) -> None:
        self._is_over = True
        await self._stream.aclose()


def _labels(state: RequestState, served_by: str) -> tuple[Header, ...]:
    labels = [
        (b"x-stepdown-served-by", served_by.encode()),
        (b"x-stepdown-decision", state.decision.encode()),
        (b"x-stepdown-reason", state.reason.encode()),
    ]
    if state.route:
        labels.append((b"x-stepdown-route", state.route.task.encode()))
    if state.draft:
        labels.append((b"x-stepdown-score", f"{state.draft.score:.4f}".encode()))
    if state.verdict and state.verdict.threshold is not None:
        labels.append((b"x-stepdown-threshold", f"{state.verdict.threshold:.4f}".encode()))
    return tuple(labels)
