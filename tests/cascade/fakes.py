"""The stages of the flow, scripted: each does what a test told it and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import msgspec

from gateway.cascade.serve import Stages, serve
from gateway.confidence.deferral import Scorer
from gateway.confidence.gate import Gate
from gateway.core import (
    Answer,
    Draft,
    DraftRequest,
    FinishReason,
    Header,
    Message,
    Outcome,
    Plan,
    Request,
    Route,
    Standing,
    Usage,
)
from gateway.upstream.base import Call, Reply

LIVE = Standing(task="t", lane="fingerprint", stage="live", version=1, threshold=0.5)


def request(**changes: object) -> Request:
    """Return a plain chat request, with `changes`."""
    plain = Request(
        id="r1",
        caller="tester",
        target=b"/v1/chat/completions",
        headers=(),
        body=b'{"model":"giant"}',
        received_at=0.0,
        model="giant",
        messages=(Message("user", "where is my card?"),),
        template="feed",
        contract_hash="feed",
        template_text="",
        text="where is my card?",
    )
    return msgspec.structs.replace(plain, **changes)


class ScriptedTeacher:
    """Answers with `pieces`; raises `fault` after them, or instead of a head when `is_down`."""

    def __init__(self) -> None:
        self.pieces: Sequence[bytes] = (b'{"choices":[{"message":{"content":"from the teacher"}}]}',)
        self.content_type = b"application/json"
        self.headers: tuple[Header, ...] = ()
        self.fault: Exception | None = None
        self.is_down = False
        self.calls: list[Call] = []
        self.closed = 0

    async def ask(self, call: Call) -> Reply:
        self.calls.append(call)
        if self.is_down and self.fault:
            raise self.fault
        return Reply(
            status=200, headers=((b"content-type", self.content_type), *self.headers), body=self._body()
        )

    async def close(self) -> None:
        pass

    async def _body(self) -> AsyncGenerator[bytes]:
        try:
            for piece in self.pieces:
                yield piece
            if self.fault:
                raise self.fault
        finally:
            self.closed += 1


class ScriptedStream:
    """The rest of a draft: `pieces`, then `fault` if there is one."""

    def __init__(self, pieces: Sequence[str], fault: Exception | None = None) -> None:
        self.finish_reason: FinishReason = "stop"
        self.completion_tokens = len(pieces)
        self.closed = 0
        self._pieces = list(pieces)
        self._fault = fault

    def __aiter__(self) -> ScriptedStream:
        return self

    async def __anext__(self) -> str:
        if self._pieces:
            return self._pieces.pop(0)
        if self._fault:
            raise self._fault
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed += 1


class ScriptedDrafter:
    """Drafts `text` with `score`, or raises `fault`; waits for `gate` first when there is one."""

    def __init__(self) -> None:
        self.text = "from the specialist"
        self.score = 0.9
        self.fault: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.drafts = 0
        self.briefs: list[DraftRequest] = []
        self.stream: ScriptedStream | None = None

    async def load(self, task: str, version: int, folder: Path) -> None:
        raise NotImplementedError

    async def draft(self, task: str, version: int, draft_request: DraftRequest, budget_s: float) -> Draft:
        self.drafts += 1
        self.briefs.append(draft_request)
        if self.gate:
            await self.gate.wait()
        if self.fault:
            raise self.fault
        stream = self.stream if draft_request.is_streamed else None
        return Draft(text=self.text, score=self.score, task=task, version=version, stream=stream)

    async def embed(self, text: str, budget_s: float) -> bytes:
        raise NotImplementedError


class Flow:
    """The flow over scripted stages. It is its own planner, router, standings and coin."""

    def __init__(self) -> None:
        self.teacher = ScriptedTeacher()
        self.drafter = ScriptedDrafter()
        self.outcomes: list[Outcome] = []
        self.the_plan = Plan(policy="p", may_serve=True)
        self.standing = LIVE
        self.is_audit = False
        self.route_fault: Exception | None = None

    def plan(self, request: Request) -> Plan:
        return self.the_plan

    async def route(self, request: Request) -> Route:
        if self.route_fault:
            raise self.route_fault
        return Route("t")

    def of(self, route: Route) -> Standing:
        return self.standing

    def sample(self, request: Request, plan: Plan, standing: Standing) -> tuple[bool, float]:
        return self.is_audit, 0.1

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        return [await self.drafter.embed(text, 1.0) for text in texts]

    async def serve(self, asked: Request | None = None) -> Answer:
        stages = Stages(
            planner=self,
            router=self,
            standings=self,
            sampler=self,
            drafter=self.drafter,
            embed=self.embed,
            scorer=Scorer(),
            judge=Gate(),
            teacher=self.teacher,
            observe=self.outcomes.append,
            estimate_usage=lambda _request, _text: Usage(10, 2, is_estimated=True),
            budget_s=1.0,
        )
        return await serve(asked or request(), stages)

    async def read(self, asked: Request | None = None) -> bytes:
        """Return the whole body of the answer."""
        answer = await self.serve(asked)
        return b"".join([piece async for piece in answer.body])

    async def settled(self) -> Outcome:
        """Return the outcome once the late draft, if any, is there too."""
        while not self.outcomes:
            await asyncio.sleep(0)
        return self.outcome

    @property
    def outcome(self) -> Outcome:
        """The one outcome there must be."""
        (only,) = self.outcomes
        return only
