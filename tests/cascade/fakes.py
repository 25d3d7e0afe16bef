"""Scripted stages of the flow: each does as a test says and records what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from gateway.cascade.base import Stages
from gateway.cascade.serve import serve
from gateway.cascade.usage_asking import UsageAsker
from gateway.confidence.deferral import Scorer
from gateway.confidence.gate import Gate
from gateway.core import (
    Answer,
    Certification,
    Draft,
    DraftRequest,
    FinishReason,
    Header,
    Outcome,
    Plan,
    Request,
    Route,
    Usage,
)
from gateway.upstream.base import Call, Reply
from tests.support.builders import certified, request

LIVE = certified()


class ScriptedTeacher:
    """Answers with `pieces`; raises `error` after them, or instead of a reply if `is_down`."""

    def __init__(self) -> None:
        self.pieces: Sequence[bytes] = (b'{"choices":[{"message":{"content":"from the teacher"}}]}',)
        self.content_type = b"application/json"
        self.headers: tuple[Header, ...] = ()
        self.error: Exception | None = None
        self.is_down = False
        self.served_by = ""
        self.is_lesson = True
        self.calls: list[Call] = []
        self.closed = 0

    async def ask(self, call: Call) -> Reply:
        self.calls.append(call)
        if self.is_down and self.error:
            raise self.error
        return Reply(
            status=200,
            headers=((b"content-type", self.content_type), *self.headers),
            body=self._body(),
            served_by=self.served_by,
            is_lesson=self.is_lesson,
        )

    async def close(self) -> None:
        pass

    async def _body(self) -> AsyncGenerator[bytes]:
        try:
            for piece in self.pieces:
                yield piece
            if self.error:
                raise self.error
        finally:
            self.closed += 1


class ScriptedStream:
    """The rest of a draft: `pieces`, which it takes one by one, then `error` if there is one."""

    def __init__(self, pieces: Sequence[str], error: Exception | None = None) -> None:
        self.finish_reason: FinishReason = "stop"
        self.completion_tokens = len(pieces)
        self.closed = 0
        self.pieces = list(pieces)
        self._error = error

    def __aiter__(self) -> ScriptedStream:
        return self

    async def __anext__(self) -> str:
        if self.pieces:
            return self.pieces.pop(0)
        if self._error:
            raise self._error
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed += 1


class ScriptedDrafter:
    """Drafts `text` with `score`, or raises `error`; first waits for `gate` if there is one."""

    def __init__(self) -> None:
        self.text = "from the specialist"
        self.score = 0.9
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.drafts = 0
        self.requests: list[DraftRequest] = []
        self.budgets_s: list[float] = []
        self.stream: ScriptedStream | None = None

    async def load(self, task: str, version: int, folder: Path) -> None:
        raise NotImplementedError

    async def draft(self, task: str, version: int, draft_request: DraftRequest, budget_s: float) -> Draft:
        self.drafts += 1
        self.requests.append(draft_request)
        self.budgets_s.append(budget_s)
        if self.gate:
            await self.gate.wait()
        if self.error:
            raise self.error
        stream = self.stream if draft_request.is_streamed else None
        return Draft(text=self.text, score=self.score, task=task, version=version, stream=stream)

    async def embed(self, text: str, budget_s: float) -> bytes:
        raise NotImplementedError


class Flow:
    """The flow over scripted stages. It is its own planner, router, certifications and audit sampler."""

    def __init__(self) -> None:
        self.teacher = ScriptedTeacher()
        self.drafter = ScriptedDrafter()
        self.outcomes: list[Outcome] = []
        self.the_plan = Plan(policy="p", may_serve=True)
        self.certification = LIVE
        self.is_audit = False
        self.the_route = Route("t")
        self.route_error: Exception | None = None
        self.usage_asker: UsageAsker | None = None
        self.has_teachers = False
        self.are_known = True

    def plan(self, request: Request) -> Plan:
        return self.the_plan

    async def route(self, request: Request, scope: str) -> Route:
        if self.route_error:
            raise self.route_error
        return self.the_route

    def of(self, task: str) -> Certification:
        return self.certification if self.are_known else Certification(task=task)

    def put_if(self, epoch: int, certification: Certification) -> bool:
        raise NotImplementedError

    def sample(
        self, request: Request, plan: Plan, certification: Certification, route: Route
    ) -> tuple[bool, float]:
        return self.is_audit, 0.1

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        return [await self.drafter.embed(text, 1.0) for text in texts]

    def stages(self) -> Stages:
        return Stages(
            planner=self,
            router=self,
            certifications=self,
            sampler=self,
            drafter=self.drafter,
            embed=self.embed,
            scorer=Scorer(),
            gate=Gate(),
            teacher=self.teacher,
            has_teachers=self.has_teachers,
            observe=self.outcomes.append,
            estimate_usage=lambda _request, _text: Usage(10, 2, is_estimated=True),
            usage_asker=self.usage_asker,
            budget_s=1.0,
        )

    async def serve(self, for_request: Request | None = None) -> Answer:
        return await serve(for_request or request(), self.stages())

    async def read(self, for_request: Request | None = None) -> bytes:
        """Return the whole body of the answer."""
        answer = await self.serve(for_request)
        return b"".join([piece async for piece in answer.body])

    async def wait_for_outcome(self) -> Outcome:
        """Return the outcome, after the late draft if there is one."""
        while not self.outcomes:
            await asyncio.sleep(0)
        return self.outcome

    @property
    def outcome(self) -> Outcome:
        """The only outcome."""
        (only,) = self.outcomes
        return only
