"""What operators cost the requests: ten clients that tail decisions, and a report over a million of them.

    python -m loadtests.admin_plane [--records 1000000] [--pairs 6] [--seconds 5] [--json FILE]

One worker before a simulated teacher gets requests at a steady rate. Windows with and without operators
alternate; the p99 of the requests, the worker's memory and the admin process' are compared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from threading import Thread
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
    parser.add_argument("--pairs", type=int, default=6, help="windows with and without operators")
    parser.add_argument("--seconds", type=float, default=5.0, help="of a window")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--operate", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.operate:
        operate(options.operate, options.seconds)
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
            asyncio.run(_send(stack.gateway_url, seconds))
            before = rss_mb(worker), rss_mb(admin)
            windows = [_measure_pair(stack, seconds) for _ in range(pairs)]
            after = rss_mb(worker), rss_mb(admin)
    ratios = [_p99(busy) / _p99(quiet) for quiet, busy, _ in windows]
    return {
        "records": records,
        "p50 alone, ms": _median(quiet for quiet, _, _ in windows),
        "p50 with operators, ms": _median(busy for _, busy, _ in windows),
        "p99 with operators / alone, median of pairs": round(statistics.median(ratios), 3),
        "p99 of each pair": [round(ratio, 2) for ratio in ratios],
        "answers to operators": sum(count for _, _, count in windows),
        "worker, MB before and after": [round(before[0], 1), round(after[0], 1)],
        "admin process, MB before and after": [round(before[1], 1), round(after[1], 1)],
    }


def operate(url: str, seconds: float) -> None:
    """Tail decisions in TAILS threads and read reports in another; print how many answers came."""
    stop_at = time.monotonic() + seconds
    since = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(time.time() - 3600))
    counts = [0] * (TAILS + 1)

    def ask(number: int, path: str, pause_s: float) -> None:
        while time.monotonic() < stop_at:
            with urllib.request.urlopen(f"{url}{path}", timeout=60) as answer:
                answer.read()
            counts[number] += 1
            time.sleep(pause_s)

    jobs = [(number, "/admin/decisions?last=20", TAIL_EVERY_S) for number in range(TAILS)]
    threads = [Thread(target=ask, args=job) for job in [*jobs, (TAILS, f"/admin/costs?since={since}", 0.0)]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(sum(counts))


def _measure_pair(stack: Stack, seconds: float) -> tuple[list[float], list[float], int]:
    """Return the latencies without operators and with them, and how many answers these got."""
    quiet = asyncio.run(_send(stack.gateway_url, seconds))
    operating = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "loadtests.admin_plane",
            "--operate",
            stack.admin_url,
            "--seconds",
            str(seconds),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    time.sleep(0.5)
    busy = asyncio.run(_send(stack.gateway_url, seconds - 0.5))
    printed, _ = operating.communicate(timeout=120)
    return quiet, busy, int(printed)


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


def _median(windows: Any) -> float:
    return float(round(statistics.median(time for times in windows for time in times), 2))


if __name__ == "__main__":
    main()
