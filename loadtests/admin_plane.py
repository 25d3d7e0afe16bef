"""What operators cost the requests: ten clients that tail decisions, and a report over a million of them.

    python -m loadtests.admin_plane [--records 1000000] [--pairs 16] [--seconds 2] [--json FILE]

One worker before a simulated teacher gets requests at a steady rate. Windows with and without operators
alternate; the p99 of the requests, the worker's memory and the admin process' are compared. The operators'
own clients run only where nothing else wants the processor: they would be on other machines.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from threading import Event, Thread
from typing import Any

import aiohttp

from gateway.demo.stack import Stack
from gateway.store.database import Database
from gateway.store.decision_log import DecisionLog
from gateway.store.home import Home
from loadtests.decisions import fill_log
from loadtests.support.processes import child_named, rss_mb

TAILS = 10
TAIL_EVERY_S = 1.0
PER_S = 100.0
MODEL = "gpt-4o"
WORKER, ADMIN = "gateway.processes.worker", "gateway.processes.admin"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="loadtests.admin_plane", description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=int, default=16, help="windows with and without operators")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a window")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--operate", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.operate:
        operate(options.operate)
        return
    figures = measure(options.records, options.pairs, options.seconds)
    for name, value in figures.items():
        print(f"{name:52} {value}")
    if options.json:
        options.json.write_text(json.dumps(figures))


def measure(records: int, pairs: int, seconds: float) -> dict[str, Any]:
    """Return the figures of one gateway with so many decisions."""
    with tempfile.TemporaryDirectory(prefix="stepdown-") as folder:
        home = Home(Path(folder) / "home")
        home.make()
        log = DecisionLog(lambda: Database(home.decisions_db), kept_in_full=2 * records)
        fill_log(log, records)
        log.close()
        with Stack(home=home, model=MODEL, environment={"STEPDOWN_LEARN_ENABLED": "false"}) as stack:
            worker, admin = (child_named(stack.gateway_pid, module) for module in (WORKER, ADMIN))
            with _operators(stack.admin_url) as operators:
                asyncio.run(_send(stack.gateway_url, seconds))
                before = rss_mb(worker), rss_mb(admin)
                windows = [_measure_pair(stack, operators, seconds) for _ in range(pairs)]
                answers = operators.pause()
                after = rss_mb(worker), rss_mb(admin)
    quiet, busy = ([*chain.from_iterable(each)] for each in zip(*windows, strict=True))
    ratios = [_p99(busy) / _p99(quiet) for quiet, busy in windows]
    return {
        "records": records,
        "p50 alone, ms": round(statistics.median(quiet), 2),
        "p50 with operators, ms": round(statistics.median(busy), 2),
        "p99 alone, ms": round(_p99(quiet), 2),
        "p99 with operators, ms": round(_p99(busy), 2),
        "p99 with operators / alone, median of pairs": round(statistics.median(ratios), 3),
        "p99 of each pair": [round(ratio, 2) for ratio in ratios],
        "tails and reports": answers,
        "worker, MB before and after": [round(before[0], 1), round(after[0], 1)],
        "admin process, MB before and after": [round(before[1], 1), round(after[1], 1)],
    }


def operate(url: str) -> None:
    """Tail decisions in TAILS threads and read reports in another, while standard input says "go".

    Any other line pauses them: once the last answer is there, the counts of tails and reports are printed.
    """
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    since = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(time.time() - 6 * 3600))
    tails = [_Client(f"{url}/admin/decisions?last=20", TAIL_EVERY_S) for _ in range(TAILS)]
    reports = _Client(f"{url}/admin/costs?since={since}", 0.0)
    for line in sys.stdin:
        for client in (*tails, reports):
            (client.go if line == "go\n" else client.pause)()
        print(f"{sum(tail.answers for tail in tails)} {reports.answers}", flush=True)


class _Client(Thread):
    """Asks for one thing again and again while it may."""

    def __init__(self, url: str, every_s: float) -> None:
        super().__init__(daemon=True)
        self.answers = 0
        self._url = url
        self._every_s = every_s
        self._may_ask, self._is_idle = Event(), Event()
        self.start()

    def run(self) -> None:
        while True:
            self._is_idle.set()
            self._may_ask.wait()
            self._is_idle.clear()
            with urllib.request.urlopen(self._url, timeout=300) as answer:
                answer.read()
            self.answers += 1
            time.sleep(self._every_s)

    def go(self) -> None:
        self._may_ask.set()

    def pause(self) -> None:
        self._may_ask.clear()
        self._is_idle.wait()


class _Operators:
    """The clients, in a process of their own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def go(self) -> None:
        self._say("go")

    def pause(self) -> str:
        """Return, after their last answer, how many tails and reports they got so far."""
        return self._say("pause")

    def _say(self, word: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


@contextmanager
def _operators(admin_url: str) -> Iterator[_Operators]:
    words = [sys.executable, "-m", "loadtests.admin_plane", "--operate", admin_url]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        operators = _Operators(process)
        # Their start is over once they answer.
        operators.pause()
        yield operators
        process.terminate()


def _measure_pair(stack: Stack, operators: _Operators, seconds: float) -> tuple[list[float], list[float]]:
    """Return the latencies without operators and with them."""
    quiet = asyncio.run(_send(stack.gateway_url, seconds))
    operators.go()
    busy = asyncio.run(_send(stack.gateway_url, seconds))
    operators.pause()
    return quiet, busy


async def _send(url: str, seconds: float) -> list[float]:
    """Send requests at PER_S; return how long each took, in ms."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "x" * 500}]}
    times: list[float] = []
    async with aiohttp.ClientSession() as session:

        async def ask() -> None:
            begun = time.perf_counter()
            async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
                await answer.read()
                assert answer.status == 200, answer.status
            times.append((time.perf_counter() - begun) * 1000)

        begun, tasks = time.monotonic(), []
        for number in range(int(seconds * PER_S)):
            await asyncio.sleep(max(0.0, begun + number / PER_S - time.monotonic()))
            tasks.append(asyncio.create_task(ask()))
        await asyncio.gather(*tasks)
    return times


def _p99(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]


if __name__ == "__main__":
    main()
