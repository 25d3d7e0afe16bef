"""A teacher that refuses, stalls, cuts, answers slowly or well, as the seed says; and what it did."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.errors import UpstreamError, UpstreamTimeoutError
from gateway.upstream.base import Call, Reply
from tests.simulation.text import number_of

PROMPT_TOKENS = 50
KINDS = ("well",) * 6 + ("slow", "refuses", "late", "429", "500", "filtered", "cuts", "ends early", "stalls")
"""`cuts`: the connection breaks in the answer. `ends early`: it ends cleanly, but too soon."""
BROKEN = frozenset({"cuts", "ends early", "stalls"})
ERROR = b'{"error":{"message":"no","type":"t","code":null,"param":null}}'
FILTERED = b'{"error":{"message":"no","code":"content_filter"}}'
JSON = ((b"content-type", b"application/json"),)
EVENTS = ((b"content-type", b"text/event-stream"),)


@dataclass
class Taught:
    """What the teacher did for one call."""

    number: int
    kind: str
    asked_at: float
    completion_tokens: int
    has_ended: bool = False
    """Whether its whole answer left it, to the word that it is finished."""
    has_told_usage: bool = False
    closed_at: float | None = None
    text: str = field(default="")


class SeededTeacher:
    """Implements Teacher. Every call is kept in `calls`."""

    def __init__(self, choices: random.Random, trace: Callable[[str], None]) -> None:
        self.calls: list[Taught] = []
        self._choices = choices
        self._trace = trace

    async def ask(self, call: Call) -> Reply:
        """See Teacher."""
        choices = self._choices
        body = json.loads(call.body if isinstance(call.body, bytes) else b"{}")
        number = number_of(body["messages"][-1]["content"])
        # A reasoning model may take more than it was allowed to write.
        tokens = choices.randint(1, body.get("max_tokens", 90)) + (200 if choices.random() < 0.02 else 0)
        taught = Taught(number, choices.choice(KINDS), asyncio.get_running_loop().time(), tokens)
        taught.text = f"teacher {number}"
        self.calls.append(taught)
        self._trace(f"request {number}: the teacher is asked, and {taught.kind}")
        try:
            await asyncio.sleep(choices.choice((0, 0.02, 0.3, 1.5)))
            reply = await self._reply(taught, body)
        except BaseException:
            taught.closed_at = asyncio.get_running_loop().time()
            raise
        return reply

    async def close(self) -> None:
        """See Teacher."""

    async def _reply(self, taught: Taught, body: dict[str, object]) -> Reply:
        match taught.kind:
            case "refuses":
                raise UpstreamError("refused", was_sent=False)
            case "late":
                raise UpstreamTimeoutError("late")
            case "429" | "500":
                return self._refuse(taught, int(taught.kind), ERROR)
            case "filtered":
                return self._refuse(taught, 400, FILTERED)
        is_stream = bool(body.get("stream"))
        pieces = _events(taught, body) if is_stream else [_whole(taught)]
        headers = EVENTS if is_stream else JSON
        return Reply(status=200, headers=headers, body=_SeededBody(taught, pieces, self._choices))

    def _refuse(self, taught: Taught, status: int, error: bytes) -> Reply:
        return Reply(status=status, headers=JSON, body=_SeededBody(taught, [error], self._choices))


class _SeededBody:
    """The pieces of an answer, at the pace and to the end that the kind of its teacher gives it."""

    def __init__(self, taught: Taught, pieces: list[bytes], choices: random.Random) -> None:
        self._taught = taught
        self._pieces = pieces
        self._choices = choices
        # At least one piece is missing of an answer that breaks off.
        self._breaks_at = choices.randrange(len(pieces)) if taught.kind in BROKEN else len(pieces)
        self._position = 0

    def __aiter__(self) -> _SeededBody:
        return self

    async def __anext__(self) -> bytes:
        taught, choices = self._taught, self._choices
        if self._position == self._breaks_at:
            if taught.kind == "stalls":
                await asyncio.sleep(30.0)
            if taught.kind in ("stalls", "cuts") or (taught.kind in BROKEN and len(self._pieces) == 1):
                raise UpstreamError("the teacher broke off")
            raise StopAsyncIteration
        is_slow = taught.kind == "slow"
        await asyncio.sleep(choices.uniform(0.2, 3.0) if is_slow else choices.choice((0, 0.01)))
        piece = self._pieces[self._position]
        self._position += 1
        taught.has_ended |= b'"finish_reason": "stop"' in piece
        taught.has_told_usage |= b'"usage"' in piece
        return piece

    async def aclose(self) -> None:
        """See Body."""
        self._taught.closed_at = self._taught.closed_at or asyncio.get_running_loop().time()


def _whole(taught: Taught) -> bytes:
    message = {"role": "assistant", "content": taught.text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps(
        _head(taught, "chat.completion") | {"choices": [choice], "usage": _usage(taught)}
    ).encode()


def _events(taught: Taught, body: dict[str, object]) -> list[bytes]:
    head = _head(taught, "chat.completion.chunk")
    deltas: list[dict[str, object]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": part} for part in ("teacher ", str(taught.number))]
    chunks: list[dict[str, object]] = [
        head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    chunks.append(head | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    options = body.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        chunks.append(head | {"choices": [], "usage": _usage(taught)})
    return [b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks] + [b"data: [DONE]\n\n"]


def _head(taught: Taught, kind: str) -> dict[str, object]:
    return {"id": f"chatcmpl-teacher-{taught.number}", "object": kind, "created": 1, "model": "giant"}


def _usage(taught: Taught) -> dict[str, int]:
    completion = taught.completion_tokens
    total = PROMPT_TOKENS + completion
    return {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": completion, "total_tokens": total}
