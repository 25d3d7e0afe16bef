"""Whether the ledger equals the bill: `python -m loadtests.money [--requests N] [--seed N] [--json FILE]`.

A real gateway with three keys, requests of every kind (models, tiers, streams, cuts, clients that leave,
tools, audio, cached prompts, batches), and a teacher that keeps the true bill with its own arithmetic. Then
budgets from $0.05 to $100 with 1, 30 and 300 requests at once, and the savings of a template whose prompt
is cached. Ends with 1 if a promise is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from gateway.store.home import Home
from gateway.store.run_file import read_run_file
from gateway.store.state import open_state
from loadtests.money.budgets import measure_budgets
from loadtests.money.savings import measure_savings
from loadtests.money.teacher import BillingTeacher
from loadtests.money.traffic import Ask, draw_requests, encode_body

KEYS = 3
AT_ONCE = 24
START_S = 60.0
TOTAL_LIMIT, PART_LIMIT = 0.005, 0.02
# Smaller parts of the bill say nothing in per cent: one answer that is cut is more than two of it.
SMALLEST_PART_USD = 0.02


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything, print the figures, write `--json`."""
    parser = argparse.ArgumentParser(prog="loadtests.money", description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    # Budgets that are nearly spent are the subject here, no news.
    logging.disable(logging.WARNING)
    figures = asyncio.run(_measure(options.requests, options.seed))
    for name, value in figures.items():
        print(f"{name:44} {value}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    return 0 if figures["promises kept"] else 1


async def _measure(count: int, seed: int) -> dict[str, Any]:
    ledger = await _measure_ledger(count, seed)
    savings = measure_savings()
    budgets = await measure_budgets(seed)
    kept = (
        abs(ledger["error in total"]) <= TOTAL_LIMIT
        and ledger["largest error of a key and model"] <= PART_LIMIT
        and abs(savings["savings error, constant share"]) <= 0.01
        and budgets["budgets: overrun beyond promise"] == 0
        and budgets["budgets: refused although they fitted"] == 0
    )
    return {**ledger, **savings, **budgets, "promises kept": kept}


async def _measure_ledger(count: int, seed: int) -> dict[str, Any]:
    teacher = BillingTeacher()
    server = await asyncio.start_server(teacher.serve, "127.0.0.1", 0, limit=1 << 20)
    port = server.sockets[0].getsockname()[1]
    requests = draw_requests(count, seed, KEYS)
    with tempfile.TemporaryDirectory() as folder, _gateway(Path(folder), port) as (url, admin, keys):
        begun = time.monotonic()
        await _send_all(requests, url, keys)
        seconds = time.monotonic() - begun
        await _settle(admin)
        booked, reported = _read_ledger(Path(folder) / "home")
    server.close()
    truth = {(f"key{key}", model): usd for (key, model), usd in teacher.bill.items()}
    total, paid = sum(truth.values()), sum(booked.values())
    errors = {
        part: abs(booked.get(part, 0.0) / usd - 1) for part, usd in truth.items() if usd >= SMALLEST_PART_USD
    }
    worst = max(errors, key=lambda part: errors[part])
    return {
        "requests": count,
        "requests/s": round(count / seconds),
        "true bill, USD": round(total, 6),
        "ledger, USD": round(paid, 6),
        "error in total": round(paid / total - 1, 6),
        "largest error of a key and model": round(errors[worst], 6),
        "where": "/".join(worst),
        "rows reported / estimated": f"{reported['reported']} / {reported['estimated']}",
    }


async def _send_all(requests: Sequence[Ask], url: str, keys: Sequence[str]) -> None:
    gate = asyncio.Semaphore(AT_ONCE)
    later: list[tuple[str, str]] = []

    async def send(ask: Ask) -> None:
        async with gate:
            key = keys[ask.play["key"]]
            await _send(session, url, key, ask)
            if ask.play["kind"] in ("background", "batch"):
                later.append((key, f"{ask.path}/{ask.play['kind']}-{ask.play['number']}"))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as session:
        await asyncio.gather(*(send(ask) for ask in requests))
        await asyncio.sleep(1.0)
        # Twice: what a later answer says is counted once.
        for key, path in later * 2:
            async with session.get(url + path, headers={"authorization": f"Bearer {key}"}) as answer:
                await answer.read()


async def _send(session: aiohttp.ClientSession, url: str, key: str, ask: Ask) -> None:
    headers = {"authorization": f"Bearer {key}"}
    data: Any = encode_body(ask)
    if ask.play["kind"] == "recording":
        data = aiohttp.FormData({"model": "whisper-1", "metadata": json.dumps(ask.play)})
    else:
        headers["content-type"] = "application/json"
    try:
        async with session.post(url + ask.path, data=data, headers=headers) as answer:
            if ask.leaves_after is None:
                await answer.read()
                return
            for _ in range(ask.leaves_after):
                if not await answer.content.readline() or not await answer.content.readline():
                    return
            answer.close()
    except aiohttp.ClientError:
        return


def _read_ledger(home: Path) -> tuple[dict[tuple[str, str], float], dict[str, int]]:
    booked: defaultdict[tuple[str, str], float] = defaultdict(float)
    sources: defaultdict[str, int] = defaultdict(int)
    with open_state(Home(home)) as state:
        for row in state.decisions.iterate():
            booked[row.key, row.model] += row.usd
            sources[row.source] += 1
    return booked, sources


async def _settle(admin: str) -> None:
    """Wait until everything was observed and written."""
    async with aiohttp.ClientSession() as session:
        for _ in range(3):
            while True:
                async with session.get(f"{admin}/status") as answer:
                    waiting = (await answer.json())["waiting"]
                if not any(waiting.values()):
                    break
                await asyncio.sleep(0.2)
            await asyncio.sleep(0.5)


@contextmanager
def _gateway(folder: Path, teacher_port: int) -> Iterator[tuple[str, str, list[str]]]:
    """Run a gateway with its own keys before the teacher; give its address, the admin's, and the keys."""
    policies = folder / "policies"
    policies.mkdir()
    rules = "policies:\n  - name: all\n    serve: false\n    usage: ask\n    paths: ['*', '/v1/batches*']\n"
    (policies / "default.yaml").write_text(rules)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("STEPDOWN", "OPENAI"))
    }
    environment |= {
        "OPENAI_BASE_URL": f"http://127.0.0.1:{teacher_port}/v1",
        "OPENAI_API_KEY": "sk-scripted",
        "STEPDOWN_HOME": str(folder / "home"),
        "STEPDOWN_POLICIES_FOLDER": str(policies),
        "STEPDOWN_LEARN_ENABLED": "false",
    }
    command = [sys.executable, "-m", "gateway"]
    keys = []
    for number in range(KEYS):
        create = [*command, "keys", "create", "--name", f"key{number}", "--json"]
        made = subprocess.run(create, env=environment, check=True, capture_output=True)
        keys.append(json.loads(made.stdout)["key"])
    serve = [*command, "serve", "--port", "0", "--admin-port", "0"]
    process = subprocess.Popen(serve, env=environment, stdout=subprocess.DEVNULL)
    try:
        run_file = Home(folder / "home").run_file
        until = time.monotonic() + START_S
        while not run_file.exists():
            if time.monotonic() > until or process.poll() is not None:
                raise RuntimeError("the gateway did not start")
            time.sleep(0.05)
        run = read_run_file(Home(folder / "home"))
        yield run.url, run.admin_url, keys
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


if __name__ == "__main__":
    sys.exit(main())
