"""The demo from its first request to its last line."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gateway.demo.board import Board
from gateway.demo.replay import official_client, replay
from gateway.demo.stage import Stage
from gateway.demo.tickets import Pair, tickets
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

MODEL = "gpt-4o"
LATENCY_MS = 250.0
IN_FLIGHT = 48
BEFORE, AFTER = 3_000, 3_600
POLL_S = 0.3
REFRESH_HZ = 8

LINE_FORM = 'each line is {"messages": [{"role": ..., "content": ...}, ...], "answer": "..."}'

Phase = tuple[str, Sequence[Pair]]


def run_demo(traffic: Path | None, console: Console) -> int:
    """Show the loop on synthetic tickets, or on the pairs of `traffic`; return the exit code."""
    phases = _own_traffic(traffic) if traffic else _shop()
    board = Board(sum(len(pairs) for _, pairs in phases), f"list price of {MODEL}")
    console.print("starting a simulated teacher and the gateway ...")
    with Stage(latency_ms=LATENCY_MS, model=MODEL) as stage:
        console.print(f"gateway ready in {stage.started_in_s:.1f} s at {stage.gateway_url}/v1")
        asyncio.run(_play(phases, stage, board, console))
        board.status = stage.status()
    _farewell(board, console)
    return 0


def read_traffic(path: Path) -> list[Pair]:
    """Return the pairs of a JSON Lines file; raises ConfigError naming file and line."""
    pairs = []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            pair = msgspec.json.decode(line, type=Pair)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigError(
                f'{path}:{number}: {error}; each line is {{"messages": [...], "answer": "..."}}'
            ) from error
        if not pair.messages:
            raise ConfigError(f"{path}:{number}: `messages` is empty")
        pairs.append(pair)
    if not pairs:
        raise ConfigError(f"{path}: no pairs in it")
    return pairs


def _shop() -> list[Phase]:
    before, after = list(tickets(BEFORE, seed=1)), list(tickets(AFTER, seed=2, moved=True))
    return [
        ("1 · shadow, then certified: the specialist takes over", before),
        ("2 · drift: the shop moved four labels; alarm, back to the teacher, re-learn", after),
    ]


def _own_traffic(path: Path) -> list[Phase]:
    return [(f"your traffic: {path.name}", read_traffic(path))]


async def _play(phases: list[Phase], stage: Stage, board: Board, console: Console) -> None:
    from rich.live import Live

    with Live(board.render(), console=console, refresh_per_second=REFRESH_HZ) as live:
        watching = asyncio.create_task(_watch(stage, board, live))
        try:
            for title, pairs in phases:
                board.phase = title
                await asyncio.to_thread(stage.teach, pairs)
                async for served in replay(pairs, official_client(stage.gateway_url, MODEL), IN_FLIGHT):
                    board.add(served)
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            live.update(board.render(), refresh=True)


async def _watch(stage: Stage, board: Board, live: Live) -> None:
    """Poll the admin plane, note what changed, redraw."""
    known: dict[str, str] = {}
    while True:
        board.status = await asyncio.to_thread(stage.status)
        for task in board.status.get("tasks", []):
            now = f"{task['stage']} v{task['version']}" if task["version"] else task["stage"]
            if known.get(task["task"]) != now:
                known[task["task"]] = now
                board.happened(f"{task['task']}: {now} {task['note']}".rstrip())
        live.update(board.render())
        await asyncio.sleep(POLL_S)


def _farewell(board: Board, console: Console) -> None:
    if not console.is_terminal:
        for name, value in board.figures():
            console.print(f"{name}: {value}")
        for event in board.events:
            console.print(event)
    console.print(
        "\nThe teacher above was simulated, its latency too; prices are list prices. Next:\n"
        "  stepdown demo --traffic FILE.jsonl     the same with your own {messages, answer} pairs\n"
        "  stepdown serve --open                  a gateway for your app: set its base URL to http://127.0.0.1:8080/v1\n"
        "  policies/README.md                     what may be served locally, and how good it must be",
        highlight=False,
    )
