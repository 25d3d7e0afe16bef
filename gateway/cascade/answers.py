"""An answer from a specialist's draft, or from the teacher, each leaving one Outcome behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from gateway.cascade.base import Case, Observer
from gateway.cascade.recorder import Recorder
from gateway.core import Answer, Body, Draft, Header, Request, Rest, Usage
from gateway.errors import UpstreamError
from gateway.upstream.base import Call, Reply, Teacher
from gateway.wire.surfaces import Writer, surface_of


class Sources(Protocol):
    """What answers are made from; the Stages of the flow are such a thing."""

    @property
    def teacher(self) -> Teacher:
        """The hosted giant."""

    @property
    def outgoing(self) -> Callable[[Request], tuple[Header, ...]]:
        """The client's headers as the teacher is to see them."""

    @property
    def observe(self) -> Observer:
        """Takes the Outcome."""

    @property
    def estimate_usage(self) -> Callable[[Request, str], Usage]:
        """Tokens which the teacher would have counted for a request and an answer."""


def from_draft(case: Case, sources: Sources) -> Answer:
    """Return the specialist's draft as the answer, in OpenAI's exact shape."""
    request, draft = case.request, case.draft
    assert draft is not None
    writer = surface_of(request).begin(request, time.time)
    kind = b"text/event-stream; charset=utf-8" if request.is_streamed else b"application/json"
    headers = [(b"content-type", kind), (b"x-request-id", request.id.encode())]
    if draft.rest is not None:
        body: Body = _Continued(writer, request, draft, draft.rest, sources)
    else:
        usage = sources.estimate_usage(request, draft.text)
        content = writer.stream(draft, usage) if request.is_streamed else writer.whole(draft, usage)
        body = _Once(content)
        if not request.is_streamed:
            headers.append((b"content-length", str(len(content)).encode()))
    return _served(case, sources, tuple(headers), body, f"{draft.task}@{draft.version}")


def from_content(case: Case, sources: Sources, content: bytes, served_by: str) -> Answer:
    """Return JSON which something else than a draft is made of as the answer."""
    headers = (
        (b"content-type", b"application/json"),
        (b"x-request-id", case.request.id.encode()),
        (b"content-length", str(len(content)).encode()),
    )
    return _served(case, sources, headers, _Once(content), served_by)


async def ask_teacher(case: Case, sources: Sources) -> Reply:
    """Return the teacher's reply to the client's own bytes. Raises UpstreamError when there is none."""
    request = case.request
    call = Call(
        method="POST",
        target=request.target,
        headers=sources.outgoing(request),
        body=request.body,
        is_repeatable=True,
    )
    return await sources.teacher.ask(call)


async def from_teacher(case: Case, sources: Sources) -> Answer:
    """Return the teacher's answer, bytes untouched. Raises UpstreamError when there is none."""
    try:
        reply = await (case.asking or ask_teacher(case, sources))
    except (UpstreamError, asyncio.CancelledError) as fault:
        status = 499 if isinstance(fault, asyncio.CancelledError) else 502
        Recorder(case, sources.observe, status, ()).finish(is_complete=False)
        raise
    recorder = Recorder(case, sources.observe, reply.status, reply.headers)
    return Answer(
        status=reply.status,
        headers=reply.headers,
        body=recorder.follow(reply.body),
        labels=_labels(case, "teacher"),
    )


def _served(case: Case, sources: Sources, headers: tuple[Header, ...], body: Body, served_by: str) -> Answer:
    recorder = Recorder(case, sources.observe, 200, headers)
    labels = _labels(case, served_by)
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

    def __init__(self, writer: Writer, request: Request, draft: Draft, rest: Rest, sources: Sources) -> None:
        self._writer = writer
        self._request = request
        self._draft = draft
        self._rest = rest
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
            self._texts.append(await anext(self._rest))
        except StopAsyncIteration:
            self._is_over = True
            usage = self._estimate_usage(self._request, "".join(self._texts))
            return self._writer.closing(self._rest.finish_reason, usage)
        return self._writer.piece(self._texts[-1])

    async def aclose(self) -> None:
        self._is_over = True
        await self._rest.aclose()


def _labels(case: Case, served_by: str) -> tuple[Header, ...]:
    labels = [
        (b"x-stepdown-served-by", served_by.encode()),
        (b"x-stepdown-decision", case.decision.encode()),
        (b"x-stepdown-reason", case.reason.encode()),
    ]
    if case.route:
        labels.append((b"x-stepdown-route", case.route.task.encode()))
    if case.draft:
        labels.append((b"x-stepdown-score", f"{case.draft.score:.4f}".encode()))
    if case.verdict and case.verdict.threshold is not None:
        labels.append((b"x-stepdown-threshold", f"{case.verdict.threshold:.4f}".encode()))
    return tuple(labels)
