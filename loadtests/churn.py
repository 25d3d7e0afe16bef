"""Shows whether an HTTP client still works after thousands of clients left at random moments.

`python -m loadtests.churn` lets 3,000 requests to a simulated teacher be cancelled while they
connect, wait or stream, asks 100 good ones, then measures the CPU of whole requests. `--client
ours-httpcore` does the same to our other engine, `aiohttp`, `httpx2` or `httpx` (where installed) to the
clients that we did not choose; `--gateway` does it through a gateway. Of each that the teacher saw leave, it
measures how soon.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import itertools
import json
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import uvloop

from gateway.demo.teacher.faults import Fault
from gateway.upstream.base import Call, Config
from gateway.upstream.transport import create_transport
from loadtests.support.processes import waited_s

HEADERS = {"content-type": "application/json", "authorization": "Bearer simulated"}
AT_ONCE = 50
GOOD_LIMIT_S = 5.0
SETTLE_S = 2.0
"""Twice as long as a teacher may be left open."""
POOL = 10
"""Connections of httpx's pool: a leak in a larger one only takes longer to show."""

LOOK_S = 0.05
GATEWAY_SLOWER = 10
"""So that it is not its being full that is measured: a client's requests would be 2,000 per second."""

Ask = Callable[[int | None, str], Awaitable[bool]]
"""Reads so many chunks of an answer, all if None, then closes it; returns whether [DONE] arrived.

The second argument names the request to the teacher.
"""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one run. CPU and memory are those of the client's process."""

    client: str
    disconnects: int
    seen_by_teacher: int
    closed_p50_ms: float
    """From the moment at which a client left to that at which the teacher's connection was closed."""
    closed_p99_ms: float
    closed_max_ms: float
    core_wait_ms: float | None
    """Of one second, how long a gateway's worker was ready to run and had no core: it closes nothing then."""
    good_asked: int
    good_answered: int
    descriptors_before: int
    descriptors_after: int
    cpu_us_per_request: float | None
    requests_per_s: float | None


def main() -> None:
    """Measure and print; exit with 1 if a good request got no answer."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.churn", description=__doc__)
    parser.add_argument(
        "--client", choices=["ours", "ours-httpcore", "aiohttp", "httpx", "httpx2"], default="ours"
    )
    parser.add_argument("--gateway", action="store_true", help="ask the teacher through a gateway")
    parser.add_argument("--disconnects", type=int, default=3_000)
    parser.add_argument("--good", type=int, default=100)
    parser.add_argument("--measured", type=int, default=3_000, help="whole requests whose CPU is measured")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()

    with (
        simulated_teacher() as teacher,
        _way_to(teacher, through_gateway=options.gateway) as (origin, worker),
    ):
        figures = uvloop.run(measure(options, origin, teacher, worker))
    encoded = msgspec.json.format(msgspec.json.encode(figures), indent=2)
    if options.json:
        options.json.write_bytes(encoded)
    print(encoded.decode())
    for name, value in msgspec.structs.asdict(figures).items():
        print(f"{name.replace('_', ' '):<22}{value if value is not None else '-':>12}")
    sys.exit(0 if figures.good_answered == figures.good_asked and figures.closed_p99_ms <= 1_000 else 1)


@contextlib.contextmanager
def _way_to(teacher: str, *, through_gateway: bool) -> Iterator[tuple[str, int | None]]:
    """Give the origin to ask, the teacher's own or that of a gateway before it, and the gateway's worker."""
    if not through_gateway:
        yield teacher, None
        return
    # That module uses this one.
    from loadtests.edge import serve_gateway

    with serve_gateway(teacher) as site:
        yield f"http://127.0.0.1:{site.port}", site.worker


@contextlib.contextmanager
def simulated_teacher(module: str = "gateway.demo.teacher") -> Iterator[str]:
    """Run a simulated teacher in its own process; yield its origin."""
    command = [sys.executable, "-m", module]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
        finally:
            process.terminate()


async def measure(options: argparse.Namespace, origin: str, teacher: str, worker: int | None) -> Figures:
    """Return the figures of one run."""
    waits: list[float] = []
    async with contextlib.AsyncExitStack() as stack:
        clients = {
            "ours": _ours,
            "ours-httpcore": _ours,
            "aiohttp": _aiohttp,
            "httpx": _httpx,
            "httpx2": _httpx,
        }
        ask: Ask = await clients[options.client](options.client, origin, stack)
        await ask(None, "first")
        before = _descriptors()
        slower = GATEWAY_SLOWER if options.gateway else 1
        watching = asyncio.create_task(_watch_core(worker, waits)) if worker else None
        left_at = await disconnect(ask, options.disconnects, random.Random(options.seed), teacher, slower)
        await asyncio.sleep(SETTLE_S)
        if watching:
            watching.cancel()
        seen = _teacher(teacher, "GET", "seen")
        closed = [1e3 * max(0.0, at - left_at[name]) for name, at in seen["left"].items() if name in left_at]
        answered = await _at_once(POOL, options.good, lambda: _good(ask))
        after = _descriptors()
        cost = await _cost(ask, options.measured) if answered == options.good else (None, None)
    return Figures(
        client=options.client,
        disconnects=options.disconnects,
        seen_by_teacher=seen["cancelled"],
        closed_p50_ms=_quantile(closed, 0.5),
        closed_p99_ms=_quantile(closed, 0.99),
        closed_max_ms=_quantile(closed, 1.0),
        core_wait_ms=_longest_wait(waits),
        good_asked=options.good,
        good_answered=answered,
        descriptors_before=before,
        descriptors_after=after,
        cpu_us_per_request=cost[0],
        requests_per_s=cost[1],
    )


async def disconnect(
    ask: Ask, count: int, dice: random.Random, teacher: str, slower: int
) -> dict[str, float]:
    """Ask a slow, streaming teacher `count` times and leave at a random moment each time.

    Return when each client left, by its name, in monotonic seconds.
    """
    left_at: dict[str, float] = {}
    names = map("client-{}".format, itertools.count())
    faults = [
        Fault(delay_ms=dice.uniform(0, 20) * slower, chunk_delay_ms=dice.uniform(0.1, 5) * slower)
        for _ in range(count)
    ]
    _teacher(teacher, "POST", "faults", msgspec.json.encode(faults))

    async def leave() -> bool:
        name, stay_s = next(names), dice.choice([0.002, 0.01, 0.05, 0.2]) * dice.random() * slower
        # A client may fail here; its answers afterwards count.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(stay_s):
                await ask(dice.choice([0, 1, 2, None]), name)
        left_at[name] = time.monotonic()
        return False

    await _at_once(AT_ONCE, count, leave)
    _teacher(teacher, "DELETE", "faults")
    return left_at


async def _watch_core(worker: int, waits: list[float]) -> None:
    while True:
        waits.append(waited_s(worker))
        await asyncio.sleep(LOOK_S)


def _longest_wait(waits: list[float]) -> float | None:
    looks = round(1 / LOOK_S)
    spans = [later - earlier for earlier, later in zip(waits, waits[looks:], strict=False)]
    return round(1e3 * max(spans), 1) if spans else None


async def _good(ask: Ask) -> bool:
    try:
        return await asyncio.wait_for(ask(None, "good"), GOOD_LIMIT_S)
    except Exception:
        # Any error here leaves a good request without an answer.
        return False


async def _cost(ask: Ask, count: int) -> tuple[float, float]:
    """Return CPU microseconds of this process per request, and requests per second."""
    cpu, wall = time.process_time(), time.perf_counter()
    await _at_once(POOL, count, lambda: ask(None, "measured"))
    wall_s = time.perf_counter() - wall
    return round((time.process_time() - cpu) / count * 1e6, 1), round(count / wall_s, 1)


async def _at_once(width: int, count: int, work: Callable[[], Awaitable[bool]]) -> int:
    """Do `work` `count` times, `width` at once; return how often it returned true."""
    turns = iter(range(count))

    async def worker() -> int:
        return sum([await work() for _ in turns])

    return sum(await asyncio.gather(*(worker() for _ in range(width))))


async def _ours(name: str, origin: str, stack: contextlib.AsyncExitStack) -> Ask:
    client = create_transport(Config(transport="httpcore" if name == "ours-httpcore" else "own"))
    stack.push_async_callback(client.close)
    headers = tuple((key.encode(), value.encode()) for key, value in HEADERS.items())

    async def ask(most: int | None, name: str) -> bool:
        target = b"/v1/chat/completions"
        call = Call(method="POST", target=target, headers=headers, body=question(name))
        reply = await client.send(origin, call)
        try:
            return await _read(reply.body, most)
        finally:
            await reply.body.aclose()

    return ask


async def _aiohttp(name: str, origin: str, stack: contextlib.AsyncExitStack) -> Ask:
    session = await stack.enter_async_context(
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False)
    )

    async def ask(most: int | None, name: str) -> bool:
        url = f"{origin}/v1/chat/completions"
        async with session.post(url, data=question(name), headers=HEADERS) as reply:
            return await _read(reply.content.iter_any(), most)

    return ask


async def _httpx(name: str, origin: str, stack: contextlib.AsyncExitStack) -> Ask:
    httpx = importlib.import_module(name)
    limits = httpx.Limits(max_connections=POOL, max_keepalive_connections=POOL)
    client = await stack.enter_async_context(httpx.AsyncClient(limits=limits, timeout=GOOD_LIMIT_S))

    async def ask(most: int | None, name: str) -> bool:
        url = f"{origin}/v1/chat/completions"
        async with client.stream("POST", url, content=question(name), headers=HEADERS) as reply:
            return await _read(reply.aiter_raw(), most)

    return ask


async def _read(body: Any, most: int | None) -> bool:
    """Return whether the body's end was seen within `most` chunks."""
    if most == 0:
        return False
    chunks = b""
    count = 0
    async for chunk in body:
        chunks = chunks[-32:] + chunk
        count += 1
        if count == most:
            break
    return chunks.endswith(b"[DONE]\n\n")


def _teacher(origin: str, method: str, verb: str, body: bytes | None = None) -> dict[str, Any]:
    request = urllib.request.Request(f"{origin}/__teacher/{verb}", body, method=method)
    with urllib.request.urlopen(request, timeout=GOOD_LIMIT_S) as reply:
        return dict(json.loads(reply.read()))


def question(name: str) -> bytes:
    """Return the body of a streamed request whose `user` is `name`."""
    messages = [{"role": "system", "content": "x" * 800}, {"role": "user", "content": "hi"}]
    return msgspec.json.encode({"model": "gpt-4o", "messages": messages, "stream": True, "user": name})


def _quantile(values: list[float], share: float) -> float:
    return round(sorted(values)[min(len(values) - 1, int(share * len(values)))], 1) if values else 0.0


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


if __name__ == "__main__":
    main()
