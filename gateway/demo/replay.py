"""Replays recorded requests through a gateway and compares the answers with the recorded ones."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec

from gateway.confidence.agreement import measure_loss
from gateway.demo.tickets import Pair


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """One request of the replay. `agrees` compares with the teacher's recorded answer."""

    number: int
    served_by: str
    decision: str
    answer: str
    agrees: bool
    latency_ms: float


class ChatAnswer(msgspec.Struct, frozen=True):
    """An answer as a client sees it: headers and text."""

    headers: Mapping[str, str]
    text: str


SendChat = Callable[[list[dict[str, str]]], Awaitable[ChatAnswer]]
"""Sends messages and returns the answer; raises its client's own errors."""


async def replay_pairs(
    pairs: Iterable[Pair],
    client: AbstractAsyncContextManager[SendChat],
    in_flight: int,
    per_s: float = math.inf,
) -> AsyncGenerator[Served]:
    """Yield one Served per pair, the first finished first.

    At most `in_flight` are open at a time and, with `per_s`, at most that many begin per second.

    Raises the client's own errors: a replay with a failed request has failed.
    """
    finished: asyncio.Queue[Served | BaseException | None] = asyncio.Queue(maxsize=in_flight * 4)
    async with client as send_chat:
        schedule = _schedule_pairs(pairs, per_s)
        senders = [asyncio.create_task(_send_all(send_chat, schedule, finished)) for _ in range(in_flight)]
        try:
            running = len(senders)
            while running:
                served = await finished.get()
                if isinstance(served, BaseException):
                    raise served
                if served is None:
                    running -= 1
                else:
                    yield served
        finally:
            for task in senders:
                task.cancel()


@asynccontextmanager
async def open_official_client(base_url: str, model: str) -> AsyncIterator[SendChat]:
    """Give OpenAI's own client, as apps use it."""
    from openai import AsyncOpenAI  # half a second of import, only where it is used

    async with AsyncOpenAI(base_url=f"{base_url}/v1", api_key="any", max_retries=0, timeout=60) as client:

        async def send_chat(messages: list[dict[str, str]]) -> ChatAnswer:
            chat: Any = client.chat.completions.with_raw_response
            raw = await chat.create(model=model, messages=messages)
            return ChatAnswer(raw.headers, raw.parse().choices[0].message.content or "")

        yield send_chat


_ScheduledPair = tuple[int, Pair, float]


def _schedule_pairs(pairs: Iterable[Pair], per_s: float) -> Iterator[_ScheduledPair]:
    """Yield number, pair and the earliest time to send it (monotonic seconds)."""
    begun = time.monotonic()
    for number, pair in enumerate(pairs):
        yield number, pair, begun + number / per_s


async def _send_all(
    send_chat: SendChat,
    schedule: Iterator[_ScheduledPair],
    finished: asyncio.Queue[Served | BaseException | None],
) -> None:
    try:
        for number, pair, not_before in schedule:
            await asyncio.sleep(max(0.0, not_before - time.monotonic()))
            begun = time.perf_counter()
            answer = await send_chat(pair.messages)
            latency_ms = (time.perf_counter() - begun) * 1000
            await finished.put(_compare(number, pair, answer, latency_ms))
    except Exception as exc:
        await finished.put(exc)
    finally:
        await finished.put(None)


def _compare(number: int, pair: Pair, answer: ChatAnswer, latency_ms: float) -> Served:
    return Served(
        number=number,
        served_by=answer.headers.get("x-stepdown-served-by", ""),
        decision=answer.headers.get("x-stepdown-decision", ""),
        answer=answer.text,
        agrees=measure_loss(pair.answer, answer.text) == 0.0,
        latency_ms=latency_ms,
    )
