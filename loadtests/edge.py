"""Shows what the server's edge does with clients that leave, stall, say too much or ask for too much.

`python -m loadtests.edge [--only NAME ...]` runs one gateway worker before a simulated teacher and prints
each figure beside its bar. Everything is bounded in count and time, and stays on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import msgspec
import uvloop

from loadtests.churn import simulated_teacher
from loadtests.support.chat_requests import make_request
from loadtests.support.open_loop import Offer, Offered, offer_elsewhere
from loadtests.support.processes import child_named, cpu_s, rss_mb, waited_s

CHAT = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}).encode()
STREAM = json.dumps(
    {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
).encode()
START_LIMIT_S = 60.0
ANSWER_LIMIT_S = 20.0


class Bar(msgspec.Struct, frozen=True):
    """One figure and whether it is as it must be."""

    what: str
    value: float
    unit: str
    must: str
    holds: bool


class Site(msgspec.Struct, frozen=True):
    """A running gateway before a simulated teacher."""

    port: int
    worker: int
    teacher: str

    def set_fault(self, count: int, **fault: object) -> None:
        """Let the teacher treat its next `count` requests so."""
        self._tell("DELETE")
        if count:
            self._tell("POST", json.dumps([fault] * count).encode())

    def _tell(self, method: str, body: bytes | None = None) -> None:
        request = urllib.request.Request(f"{self.teacher}/__teacher/faults", body, method=method)
        urllib.request.urlopen(request, timeout=ANSWER_LIMIT_S).close()


Check = Callable[[Site], Awaitable[list[Bar]]]


def main() -> None:
    """Run the checks; exit with 1 if a bar does not hold."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.edge", description=__doc__)
    parser.add_argument("--only", nargs="*", choices=sorted(CHECKS), default=list(CHECKS))
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    bars: list[Bar] = []
    for name in options.only:
        # A process of its own for each: the memory of one check is not that of the next.
        for bar in run_check(name):
            bars.append(bar)
            verdict = "ok" if bar.holds else "BROKEN"
            print(
                f"{name:<12}{bar.what:<52}{bar.value:>10.1f} {bar.unit:<6} {bar.must:<10} {verdict}",
                flush=True,
            )
    if options.json:
        options.json.write_bytes(msgspec.json.encode(bars))
    sys.exit(0 if all(bar.holds for bar in bars) else 1)


def run_check(name: str) -> list[Bar]:
    """Return the bars of one check, on a gateway of its own.

    The worker has one core and all others the rest: its own time is measured, not a queue for the CPU.
    """
    # The quick one costs almost nothing, but knows no faults.
    teacher = "loadtests.peers.teacher" if name in QUICK else "gateway.demo.teacher"
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[1:] or cores)
    try:
        with simulated_teacher(teacher) as origin, serve_gateway(origin) as site:
            for thread in Path(f"/proc/{site.worker}/task").iterdir():
                os.sched_setaffinity(int(thread.name), cores[:1])
            return uvloop.run(_run(CHECKS[name], site))
    finally:
        os.sched_setaffinity(0, cores)


async def _run(check: Check, site: Site) -> list[Bar]:
    await asyncio.gather(*(ask(site.port, CHAT) for _ in range(20)))
    return await check(site)


@contextlib.contextmanager
def serve_gateway(teacher: str) -> Iterator[Site]:
    """Run `stepdown serve --open` with one worker, without learning."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STEPDOWN")}
        environment |= {
            "STEPDOWN_HOME": f"{folder}/home", "STEPDOWN_LEARN_ENABLED": "false",
            "OPENAI_BASE_URL": f"{teacher}/v1", "OPENAI_API_KEY": "simulated",
        }  # fmt: skip
        command = [sys.executable, "-m", "gateway", "serve", "--open", "--port", "0", "--admin-port", "0"]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet) as process:
            try:
                port = _wait_for_port(Path(folder) / "home" / "run.json")
                yield Site(port, child_named(process.pid, "gateway.processes.worker"), teacher)
            finally:
                process.terminate()


def _wait_for_port(run_file: Path) -> int:
    for _ in range(int(START_LIMIT_S / 0.05)):
        time.sleep(0.05)
        with contextlib.suppress(OSError, ValueError):
            return int(json.loads(run_file.read_bytes())["url"].rpartition(":")[2])
    raise TimeoutError("the gateway did not start")


async def ask(port: int, body: bytes) -> tuple[int, float]:
    """Return status, 0 without an answer, and seconds of one request on a connection of its own."""
    began = time.perf_counter()
    try:
        async with asyncio.timeout(ANSWER_LIMIT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(make_request(body))
                return await read_answer(reader), time.perf_counter() - began
            finally:
                writer.close()
    except (OSError, EOFError, TimeoutError, IndexError):
        return 0, time.perf_counter() - began


async def read_answer(reader: asyncio.StreamReader) -> int:
    """Read one whole answer and return its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    lengths = [int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length")]
    if lengths:
        await reader.readexactly(lengths[0])
    else:
        await reader.readuntil(b"0\r\n\r\n")
    return int(head.split()[1])


def percentile(values: list[float], share: float) -> float:
    """Return the value that `share` of `values` do not exceed; infinity without any."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else float("inf")


async def repeat(
    count: int, width: int, work: Callable[[], Awaitable[tuple[int, float]]]
) -> list[tuple[int, float]]:
    """Return the results of `count` times `work`, `width` at once."""
    turns = iter(range(count))

    async def worker() -> list[tuple[int, float]]:
        return [await work() for _ in turns]

    return [one for some in await asyncio.gather(*(worker() for _ in range(width))) for one in some]


async def check_churn(site: Site) -> list[Bar]:
    """3,000 clients leave in the middle; then all is as before."""
    site.set_fault(6000, chunk_delay_ms=20)

    async def leave() -> tuple[int, float]:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", site.port)
            writer.write(make_request(STREAM))
            await asyncio.sleep(0.02)
            writer.transport.abort()
        return 0, 0.0

    await repeat(3000, 50, leave)
    site.set_fault(0)
    await asyncio.sleep(1.0)
    sockets = _count_sockets(site.worker)
    good = await repeat(100, 10, lambda: ask(site.port, CHAT))
    answered = sum(status == 200 for status, _ in good)
    return [
        Bar("good requests of 100 answered after 3,000 left", answered, "", "= 100", answered == 100),
        Bar("sockets of the worker 1 s after", sockets, "", "<= 60", sockets <= 60),
    ]


async def check_cut(site: Site) -> list[Bar]:
    """1,000 streams that the teacher cuts: none looks complete."""
    site.set_fault(4000, cut_after=100, is_chunked=True)
    whole = 0

    async def watch() -> tuple[int, float]:
        nonlocal whole
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(make_request(STREAM))
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            async with asyncio.timeout(ANSWER_LIMIT_S):
                await reader.readuntil(b"\r\n\r\n")
                content = await reader.readuntil(b"\r\n0\r\n\r\n")
                whole += b"[DONE]" in content or b'"error"' not in content
        writer.close()
        return 0, 0.0

    await repeat(1000, 20, watch)
    site.set_fault(0)
    return [Bar("cut streams of 1,000 that look complete", whole, "", "= 0", whole == 0)]


class Phase(msgspec.Struct, frozen=True):
    """One rate of requests for a while: the answers, and the worker's CPU seconds for them."""

    answers: Offered
    seconds: float
    cpu_s: float
    waited_s: float
    """While the worker was ready to run and its core had other work: that is not the gateway's doing."""

    @property
    def goodput(self) -> float:
        """Good answers per second."""
        return self.answers.good / self.seconds


async def check_overload(site: Site) -> list[Bar]:
    """Five times the peak for 10 s, in an open loop from another process; then the usual again."""
    usual = Offer(port=site.port, requests=[make_request(CHAT)], width=32, seconds=4.0)
    peak = await _offer(site, usual)
    before = rss_mb(site.worker)
    storm = await _offer(
        site, msgspec.structs.replace(usual, width=1000, seconds=10.0, per_s=5 * peak.goodput)
    )
    grown = rss_mb(site.worker) - before
    recovered_s = await _recover(site)
    answers, share = storm.answers, storm.goodput / peak.goodput
    good_s = peak.cpu_s / max(1, peak.answers.good)
    shed_us = 1e6 * (storm.cpu_s - answers.good * good_s) / max(1, len(answers.shed_ms))
    shed_ms = percentile(answers.shed_ms, 0.99)
    failed = sum(answers.failed.values())
    # Above the bar other processes had the worker's core, and no other figure counts.
    peak_wait, storm_wait = (100 * phase.waited_s / phase.seconds for phase in (peak, storm))
    return [
        Bar("peak, 32 at once", peak.goodput, "req/s", "", True),
        Bar("offered, of the peak", answers.sent / storm.seconds / peak.goodput, "x", "", True),
        Bar("goodput beside it, of the peak", 100 * share, "%", ">= 90", share >= 0.9),
        Bar("waited for its core at the peak", peak_wait, "%", "<= 10", peak_wait <= 10),
        Bar("the same, beside five times", storm_wait, "%", "<= 10", storm_wait <= 10),
        Bar("CPU of a good answer", 1e6 * good_s, "us", "", True),
        Bar("CPU of a shed one", shed_us, "us", "", True),
        Bar(
            "CPU that sheds take of four times the peak",
            4 * 1e-4 * peak.goodput * shed_us,
            "%",
            "<= 10",
            shed_us * peak.goodput * 4 <= 1e5,
        ),
        Bar("CPU of the generator", 100 * answers.cpu_s / storm.seconds, "%", "", True),
        Bar("good answers, p50", percentile(answers.good_ms, 0.5), "ms", "", True),
        Bar("good answers, p99", percentile(answers.good_ms, 0.99), "ms", "", True),
        Bar("shed answers, p50", percentile(answers.shed_ms, 0.5), "ms", "", True),
        Bar("shed answers, p99", shed_ms, "ms", "<= 20", shed_ms <= 20),
        Bar("neither answered nor shed", failed, "", "= 0", not failed),
        Bar("memory added", grown, "MB", "<= 128", grown <= 128),
        Bar("recovery", recovered_s, "s", "<= 5", recovered_s <= 5),
    ]


async def _offer(site: Site, offer: Offer) -> Phase:
    used, waited = cpu_s(site.worker), waited_s(site.worker)
    answers = await offer_elsewhere(offer)
    return Phase(answers, offer.seconds, cpu_s(site.worker) - used, waited_s(site.worker) - waited)


async def _recover(site: Site) -> float:
    """Return the seconds until answers are quick again."""
    began = time.perf_counter()
    while percentile([one[1] for one in await repeat(20, 4, lambda: ask(site.port, CHAT))], 0.5) > 0.05:
        if time.perf_counter() - began > ANSWER_LIMIT_S:
            break
    return time.perf_counter() - began


async def _elsewhere(work: Callable[..., float], *arguments: object) -> float:
    """Return what `work` returns in another process, which does not share this one's event loop."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)


async def _probe(port: int, sent: bytes, until: asyncio.Task[float]) -> list[tuple[int, float]]:
    """Send one request after another on one connection; return statuses and times."""
    answers = []
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while not until.done():
        began = time.perf_counter()
        try:
            writer.write(sent)
            answers.append((await read_answer(reader), time.perf_counter() - began))
        except (OSError, EOFError):
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.005)
    writer.close()
    return answers


async def check_silent(site: Site) -> list[Bar]:
    """1,100 silent sockets and 100 clients that do not read: the others do not notice."""
    alone = [took for _, took in await repeat(1000, 4, lambda: ask(site.port, CHAT))]
    before = rss_mb(site.worker)
    held = [await asyncio.open_connection("127.0.0.1", site.port) for _ in range(1200)]
    for _, writer in held[:100]:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(make_request(STREAM) * 20)
    beside = await repeat(1000, 4, lambda: ask(site.port, CHAT))
    grown = rss_mb(site.worker) - before
    for _, writer in held:
        writer.transport.abort()
    answered = sum(status == 200 for status, _ in beside)
    first, second = percentile(alone, 0.99), percentile([took for _, took in beside], 0.99)
    return [
        Bar("good requests of 1,000 answered beside them", answered, "", "= 1000", answered == 1000),
        Bar("good p99 alone", first * 1000, "ms", "", True),
        Bar("good p99 beside them, ratio", second / first, "x", "< 1.5", second < 1.5 * first),
        Bar("memory added", grown, "MB", "", True),
    ]


async def check_memory(site: Site) -> list[Bar]:
    """Strangers send heads, trailers and pipelined requests without end: one, then 1,000 of them."""
    attacks = {
        "header lines": (b"GET / HTTP/1.1\r\n", b"x: y\r\n" * 1000),
        "one header": (b"GET / HTTP/1.1\r\nx: ", b"y" * 6000),
        "a URL": (b"GET /", b"y" * 6000),
        "pipelined requests": (b"", b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n" * 200),
        "trailers": (
            b"GET / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
            b"x: y\r\n" * 1000,
        ),
    }
    bars = []
    for name, (begun, more) in attacks.items():
        before = rss_mb(site.worker)
        await _attack(site.port, begun, more, pieces=5000)
        one = rss_mb(site.worker) - before
        bars.append(Bar(f"30 MB of {name} on one connection, memory", one, "MB", "<= 64", one <= 64))
    before = rss_mb(site.worker)
    head = b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 60_000
    held = [await asyncio.open_connection("127.0.0.1", site.port) for _ in range(1000)]
    for _, writer in held:
        writer.write(head)
    await asyncio.sleep(2.0)
    many = rss_mb(site.worker) - before
    for _, writer in held:
        writer.transport.abort()
    return [*bars, Bar("1,000 unfinished heads of 60 KB, memory", many, "MB", "<= 64", many <= 64)]


async def _attack(port: int, begun: bytes, more: bytes, pieces: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(begun)
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(ANSWER_LIMIT_S):
            for _ in range(pieces):
                writer.write(more)
                await writer.drain()
                if reader.at_eof():
                    break
    writer.transport.abort()


async def check_bodies(site: Site) -> list[Bar]:
    """Large bodies: the event loop goes on beside each, and twelve at once have bounded memory."""
    bodies = {
        "a million messages": [{"role": "user", "content": "x"}] * 1_000_000,
        "31 MB of text": [{"role": "user", "content": "hello " * 5_200_000}],
        "31 MB of escapes": [{"role": "user", "content": "caf\u00e9 " * 3_000_000}],
        "31 MB of JSON as text": [{"role": "user", "content": '{"a": "b"}, ' * 2_000_000}],
    }
    bars = []
    for name, messages in bodies.items():
        body = json.dumps({"model": "gpt-4o", "messages": messages}).encode()
        late = await _lag_beside(site, body)
        bars.append(Bar(f"loop lag beside {name}", late * 1000, "ms", "<= 100", late <= 0.1))
    before = rss_mb(site.worker)
    text = json.dumps({"model": "gpt-4o", "messages": bodies["31 MB of text"]}).encode()
    answers = await asyncio.gather(*(ask(site.port, text) for _ in range(12)))
    peak = rss_mb(site.worker) - before
    await asyncio.sleep(3.0)
    left = rss_mb(site.worker) - before
    known = sum(status in (200, 503) for status, _ in answers)
    return [
        *bars,
        Bar("12 bodies of 31 MB, answered with 200 or 503", known, "", "= 12", known == 12),
        Bar("memory at their end", peak, "MB", "<= 400", peak <= 400),
        Bar("memory 3 s later", left, "MB", "<= 128", left <= 128),
    ]


async def _lag_beside(site: Site, body: bytes) -> float:
    """Return the longest that a health check took while `body` was sent, from elsewhere, and read."""
    asking = asyncio.create_task(_elsewhere(_send_body, site.port, body))
    health = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    return max(took for _, took in await _probe(site.port, health, until=asking))


def _send_body(port: int, body: bytes) -> float:
    # Blocking, and in a process of its own: it costs the probe no time.
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_LIMIT_S) as sock:
        sock.sendall(make_request(body))
        return float(len(sock.recv(65536)))


def _count_sockets(pid: int) -> int:
    count = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            count += str(entry.readlink()).startswith("socket:")
    return count


CHECKS: dict[str, Check] = {
    "churn": check_churn,
    "cut": check_cut,
    "overload": check_overload,
    "silent": check_silent,
    "memory": check_memory,
    "bodies": check_bodies,
}

# The simulated teacher would need more CPU than the worker.
QUICK = frozenset({"overload"})

if __name__ == "__main__":
    main()
