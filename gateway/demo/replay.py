"""Sending recorded requests through a gateway, and noting what came of each."""

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


class Heard(msgspec.Struct, frozen=True):
    """An answer as a client sees it: headers and text."""

    headers: Mapping[str, str]
    text: str


Ask = Callable[[list[dict[str, str]]], Awaitable[Heard]]
"""Sends messages and returns the answer; raises its client's own errors."""

Opening = AbstractAsyncContextManager[Ask]


async def replay(
    pairs: Iterable[Pair], opening: Opening, in_flight: int, per_s: float = math.inf
) -> AsyncGenerator[Served]:
    """Yield one Served per pair, in the order in which they finish.

    At most `in_flight` at a time and, with `per_s`, no more than that many a second.

    Raises the client's own errors: a replay in which a request fails has failed.
    """
    finished: asyncio.Queue[Served | BaseException | None] = asyncio.Queue(maxsize=in_flight * 4)
    async with opening as ask:
        numbered = _paced(pairs, per_s)
        senders = [asyncio.create_task(_send(ask, numbered, finished)) for _ in range(in_flight)]
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
async def official_client(base_url: str, model: str) -> AsyncIterator[Ask]:
    """Ask with OpenAI's own client, as an app does."""
    from openai import AsyncOpenAI  # half a second of import, only for those who use it

    async with AsyncOpenAI(base_url=f"{base_url}/v1", api_key="any", max_retries=0, timeout=60) as client:

        async def ask(messages: list[dict[str, str]]) -> Heard:
            chat: Any = client.chat.completions.with_raw_response
            raw = await chat.create(model=model, messages=messages)
            return Heard(raw.headers, raw.parse().choices[0].message.content or "")

        yield ask


_Turn = tuple[int, Pair, float]


def _paced(pairs: Iterable[Pair], per_s: float) -> Iterator[_Turn]:
    """Number the pairs and say when each may go (monotonic seconds)."""
    begun = time.monotonic()
    for number, pair in enumerate(pairs):
        yield number, pair, begun + number / per_s


async def _send(
    ask: Ask, numbered: Iterator[_Turn], finished: asyncio.Queue[Served | BaseException | None]
) -> None:
    try:
        for number, pair, not_before in numbered:
            await asyncio.sleep(max(0.0, not_before - time.monotonic()))
            begun = time.perf_counter()
            heard = await ask(pair.messages)
            latency_ms = (time.perf_counter() - begun) * 1000
            await finished.put(_served(number, pair, heard, latency_ms))
    except Exception as error:
        await finished.put(error)
    finally:
        await finished.put(None)


def _served(number: int, pair: Pair, heard: Heard, latency_ms: float) -> Served:
    return Served(
        number=number,
        served_by=heard.headers.get("x-stepdown-served-by", ""),
        decision=heard.headers.get("x-stepdown-decision", ""),
        answer=heard.text,
        agrees=measure_loss(pair.answer, heard.text) == 0.0,
        latency_ms=latency_ms,
    )
