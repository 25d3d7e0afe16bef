"""What the record of every decision costs, how fast one is found, and whether each request has one.

    python -m loadtests.decisions [--records 1000000] [--requests 1000] [--json FILE]

First a log of its own with `--records` records: bytes, CPU, look-ups. Then a gateway before a simulated
teacher: a mixed load of `--requests` requests, each of which `why` must explain, and whose dollars must be
those of the ledger.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from gateway.api.http.response_headers import new_request_id
from gateway.core import Usage
from gateway.demo.stack import Stack
from gateway.demo.tickets import Pair, generate_tickets
from gateway.policy.explanation import explain_decision
from gateway.store.database import Database
from gateway.store.decision_log import DecisionLog
from gateway.store.decision_record import CertificateFacts, DecisionRecord
from gateway.store.ledger_row import LedgerRow
from gateway.store.state import open_state

BATCH = 500
LOOK_UPS = 2_000
IN_FLIGHT = 16
LEARNING_S = 240.0
LEARNING_BATCH = 200
SLOW_MS = 100.0
"""Of the teacher, so that some drafts win against it where it is asked beside them."""
CUT = {"cut_after": 60, "is_chunked": True}
"""The teacher breaks off."""
PROMPT = "Sort the ticket. Answer with one label."
POLICIES = """
policies:
  - {name: secret, models: ["secret-*"], forbid: true}
  - {name: poor, models: ["poor-*"], usd_per_day: 0.0}
  - name: quick
    alpha: 0.2
    hedge_ms: 6
    audit: {shadow: 0.4, certified: 0.2}
"""
QUICK = {
    "STEPDOWN_LEARN_INTERVAL_S": "0.2",
    "STEPDOWN_LEARN_ADOPT_ROWS": "20",
    "STEPDOWN_LEARN_FIRST_ROWS": "60",
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="loadtests.decisions", description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    figures = measure_log(options.records)
    if options.requests:
        figures |= asyncio.run(measure_mix(options.requests))
    for name, value in figures.items():
        print(f"{name:44} {value}")
    if options.json:
        options.json.write_text(json.dumps(figures))


def measure_log(count: int) -> dict[str, Any]:
    """Return what `count` records take, and how long one is looked for among them."""
    with tempfile.TemporaryDirectory(prefix="stepdown-") as folder:
        path = Path(folder) / "decisions.db"
        # None is thinned out: the look-ups are among all of them.
        log = DecisionLog(lambda: Database(path), kept_in_full=2 * count)
        ids, cpu_s = fill_log(log, count)
        log.close()
        size = path.stat().st_size
        log = DecisionLog(lambda: Database(path), kept_in_full=2 * count)
        times = []
        for request_id in random.Random(2).sample(ids, min(LOOK_UPS, count)):
            begun = time.perf_counter()
            found = log.find(request_id)
            times.append((time.perf_counter() - begun) * 1000)
            assert found[0].row.request_id == request_id
        log.close()
    times.sort()
    return {
        "records": count,
        "bytes per record": round(size / count, 1),
        "MB per 10,000": round(size / count / 100, 2),
        "CPU per record, to write it, us": round(cpu_s / count * 1e6, 2),
        "look-up p50, ms": round(statistics.median(times), 3),
        "look-up p99, ms": round(times[int(len(times) * 0.99)], 3),
        "look-up max, ms": round(times[-1], 3),
    }


def fill_log(log: DecisionLog, count: int) -> tuple[list[str], float]:
    """Write `count` records; return their ids, and the CPU seconds that writing took."""
    ids: list[str] = []
    cpu_s = 0.0
    records = _make_records()
    for _ in range(0, count, BATCH):
        batch = [next(records) for _ in range(BATCH)]
        ids += [record.row.request_id for record in batch]
        begun = time.process_time()
        for record in batch:
            log.put(record)
        log.flush()
        cpu_s += time.process_time() - begun
    return ids, cpu_s


def _make_records() -> Iterator[DecisionRecord]:
    draw = random.Random(1)
    certificate = CertificateFacts("live", 0.02, 0.1, 30.0, 0.6, None, 1.0, 2.0, 3e9, 251, 240, 1.5, None, "")
    now = time.time()
    while True:
        decision = draw.choices(("local", "escalated", "audit"), (85, 13, 2))[0]
        prompt = draw.randrange(100, 2000)
        usage, usd = Usage(prompt, 5), prompt * 2.5e-6 + 5e-5
        row = LedgerRow(
            now, new_request_id(), "acme", f"key-{draw.randrange(20)}", "default",
            f"task-{draw.randrange(30)}", decision, "/v1/chat/completions", "gpt-4o", "gpt-4o-2024-08-06",
            "", usage.prompt_tokens, usage.completion_tokens, 0, 0, "", 0.0 if decision == "local" else usd,
            usd, 0.0, 0.0, "reported", "listed",
        )  # fmt: skip
        yield DecisionRecord(
            row=row, status=200, reason="certified" if decision == "local" else "unsure", method="POST",
            surface="chat", form="single/short", match="fingerprint", alpha=0.02, delta=0.1, days=30.0,
            stratum="new", certificate=certificate, version=3, score=draw.random(), threshold=0.6,
            familiarity=draw.random(), propensity=0.02, latency_ms=draw.random() * 50,
            first_byte_ms=draw.random() * 50, draft_ms=draw.random() * 10,
        )  # fmt: skip


async def measure_mix(count: int) -> dict[str, Any]:
    """Return how many requests of a mixed load are explained, and what their dollars differ by."""
    with tempfile.TemporaryDirectory(prefix="stepdown-") as folder:
        (Path(folder) / "default.yaml").write_text(POLICIES)
        with Stack(latency_ms=SLOW_MS, policies=Path(folder), environment=QUICK) as stack:
            pairs = list(generate_tickets(20_000, seed=3))
            stack.set_pairs(pairs)
            fresh = iter(pairs)
            async with aiohttp.ClientSession() as session:
                await _certify(stack, session, fresh)
                await session.post(f"{stack.teacher_url}/__teacher/faults", json=[CUT] * (count // 50))
                made = await _send(stack, session, _mix(count, fresh))
            await asyncio.to_thread(stack.wait_until_settled)
            return _check(stack, made)


async def _certify(stack: Stack, session: aiohttp.ClientSession, fresh: Iterator[Pair]) -> None:
    until = time.monotonic() + LEARNING_S
    while not any(task["stage"] == "live" for task in stack.status()["tasks"]):
        if time.monotonic() > until:
            raise SystemExit("no specialist was certified in time: the machine is too busy")
        bodies = [_ask(next(fresh).text) for _ in range(LEARNING_BATCH)]
        await _send(stack, session, [("/v1/chat/completions", body) for body in bodies])
        await asyncio.sleep(1.0)


def _ask(text: str, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": PROMPT}, {"role": "user", "content": text}]
    return {"model": "gpt-4o", "messages": messages, **fields}


Sent = tuple[str, dict[str, Any]]
"""Path and body."""


def _mix(count: int, fresh: Iterator[Pair]) -> list[Sent]:
    """Return mostly questions that a specialist may answer, and some of everything else."""
    chat = "/v1/chat/completions"
    kinds: tuple[Callable[[str], Sent], ...] = (
        lambda text: (chat, _ask(text)),
        lambda text: (chat, _ask(text, stream=True)),
        lambda text: (chat, _ask(text, model="secret-1")),
        lambda text: (chat, _ask(text, model="poor-1")),
        lambda text: (chat, _ask(text, n=2)),
        lambda text: (chat, _ask(text, model="gpt-4o-mini", stream=True)),
        lambda _: ("/nothing-is-here", {}),
    )
    draw = random.Random(4)
    chosen = draw.choices(kinds, (60, 15, 5, 5, 5, 5, 5), k=count)
    return [kind(next(fresh).text) for kind in chosen]


async def _send(stack: Stack, session: aiohttp.ClientSession, requests: list[Sent]) -> list[str]:
    """Send all; return the request ids of the answers."""
    places = asyncio.Semaphore(IN_FLIGHT)

    async def send(path: str, body: dict[str, Any]) -> str:
        async with places, session.post(stack.gateway_url + path, json=body) as got:
            with contextlib.suppress(aiohttp.ClientPayloadError):
                # Some are broken off.
                await got.read()
            return got.headers["x-stepdown-request-id"]

    return await asyncio.gather(*(send(*request) for request in requests))


def _check(stack: Stack, made: list[str]) -> dict[str, Any]:
    kinds = Counter[str]()
    explained = 0
    with open_state(stack.home) as state:
        for request_id in made:
            if not (records := state.decisions.find(request_id)):
                continue
            explanation = explain_decision(records, ())
            explained += bool(explanation.other_way and msgspec.json.encode(explanation))
            kinds[explanation.decision] += 1
            kinds["hedged"] += explanation.is_hedged
            kinds["cut"] += not explanation.is_whole
            kinds["budget"] += explanation.status == 429
        ids = {record.row.request_id for record in state.decisions.newest(1_000_000, lambda _: True)}
        usd = sum(explain_decision(state.decisions.find(each), ()).usd for each in ids)
        booked = state.spend.totals().usd
    return {
        "explained": f"{explained} of {len(made)}",
        "of these": ", ".join(f"{kind} {number}" for kind, number in sorted(kinds.items())),
        "dollars of `why`": round(usd, 6),
        "dollars of the ledger": round(booked, 6),
        "they differ by": f"${abs(usd - booked):.6f}",
    }


if __name__ == "__main__":
    main()
