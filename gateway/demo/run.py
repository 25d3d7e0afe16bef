"""The demo, from its first request to its last line."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.demo.board import Board
from gateway.demo.replay import open_official_client, replay_pairs
from gateway.demo.stack import Stack
from gateway.demo.tickets import Pair, generate_tickets
from gateway.errors import ConfigError
from gateway.policy.explanation import Explanation
from gateway.policy.explanation_text import render_explanation

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

MODEL = "gpt-4o"
LATENCY_MS = 250.0
IN_FLIGHT = 24
# The official client takes most of a core at this rate; the learner needs some of the other.
PER_S = 60.0
TICKETS = 3_000
# Start, two phases and end take at most a minute and a half.
PHASE_LIMIT_S = 36.0
SHOWN_AFTER = 500
POLL_S = 0.3
REFRESH_HZ = 4
LINE_FORMAT = 'each line is {"messages": [{"role": ..., "content": ...}, ...], "answer": "..."}'
# The evidence for 2 % takes three times as long to collect as for 5 %, and a demo is short.
POLICY = """\
policies:
  - name: demo
    models: ["*"]
    alpha: 0.05
    audit: {shadow: 0.4, settling: 0.05, certified: 0.05}
"""


class Phase(msgspec.Struct, frozen=True):
    """A title, the traffic, and the goal: a predicate of the gateway's status.

    The phase ends SHOWN_AFTER requests after `is_reached` became true; without a goal it ends
    with its pairs.
    """

    title: str
    pairs: Sequence[Pair]
    is_reached: Callable[[dict[str, Any]], bool] | None = None


def run_demo(traffic: Path | None, console: Console) -> int:
    """Show the loop on synthetic tickets, or on the pairs of `traffic`; return the exit code."""
    phases = _read_phase(traffic) if traffic else _shop_phases()
    board = Board(f"list price of {MODEL}")
    console.print("starting a simulated teacher and the gateway ...")
    environment = {"STEPDOWN_LEARN_INTERVAL_S": "0.5"}
    with (
        _write_policies() as policies,
        Stack(latency_ms=LATENCY_MS, model=MODEL, policies=policies, environment=environment) as stack,
    ):
        console.print(f"gateway ready in {stack.started_in_s:.1f} s at {stack.gateway_url}/v1")
        asyncio.run(_play_all(phases, stack, board, console))
        board.status = stack.wait_until_settled()
        reasons = {decision: stack.explain_newest(decision) for decision in ("local", "escalated")}
    _print_end(board, reasons, console)
    return 0


def read_traffic(path: Path) -> list[Pair]:
    """Return the pairs of a JSON Lines file; raises ConfigError naming file and line."""
    pairs = []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            pair = msgspec.json.decode(line, type=Pair)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise ConfigError(f"{path}:{number}: {exc}; {LINE_FORMAT}") from exc
        if not pair.messages:
            raise ConfigError(f"{path}:{number}: `messages` is empty")
        if any("content" not in message for message in pair.messages):
            raise ConfigError(f"{path}:{number}: a message has no `content`; {LINE_FORMAT}")
        pairs.append(pair)
    if not pairs:
        raise ConfigError(f"{path}: no pairs in it")
    return pairs


def _shop_phases() -> list[Phase]:
    return [
        Phase(
            "1 of 2: the specialist drafts in shadow, is certified and takes over",
            list(generate_tickets(TICKETS, seed=1)),
            _is_live,
        ),
        Phase(
            "2 of 2: the shop moves four labels: alarm, back to the teacher, learn again",
            list(generate_tickets(TICKETS, seed=2, moved=True)),
            lambda status: _is_live(status) and status["tasks"][0]["epoch"] > 0,
        ),
    ]


def _read_phase(path: Path) -> list[Phase]:
    return [Phase(f"your traffic: {path.name}", read_traffic(path))]


def _is_live(status: dict[str, Any]) -> bool:
    return bool(status.get("tasks")) and status["tasks"][0]["stage"] == "live"


async def _play_all(phases: list[Phase], stack: Stack, board: Board, console: Console) -> None:
    from rich.live import Live  # only for a demo that is shown

    with Live(board.render(), console=console, refresh_per_second=REFRESH_HZ) as live:
        watching = asyncio.create_task(_watch(stack, board, live))
        try:
            for phase in phases:
                board.phase = phase.title
                await asyncio.to_thread(stack.set_pairs, phase.pairs)
                await _play_phase(phase, stack, board)
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            live.update(board.render(), refresh=True)


async def _play_phase(phase: Phase, stack: Stack, board: Board) -> None:
    """Send the traffic until its goal was shown for a while, or its time is over."""
    give_up_at = time.monotonic() + PHASE_LIMIT_S
    shown = 0
    async with contextlib.aclosing(
        replay_pairs(phase.pairs, open_official_client(stack.gateway_url, MODEL), IN_FLIGHT, PER_S)
    ) as finished:
        async for served in finished:
            board.add_request(served)
            if phase.is_reached is None:
                continue
            shown += phase.is_reached(board.status)
            if shown > SHOWN_AFTER or time.monotonic() > give_up_at:
                return


async def _watch(stack: Stack, board: Board, live: Live) -> None:
    """Poll the admin plane, note changes, redraw."""
    known: dict[str, str] = {}
    while True:
        board.status = await asyncio.to_thread(stack.status)
        for task in board.status.get("tasks", []):
            now = f"{task['stage']} v{task['version']}" if task["version"] else task["stage"]
            if known.get(task["task"]) != now:
                known[task["task"]] = now
                board.add_event(f"{now}: {task['note']}")
        live.update(board.render())
        await asyncio.sleep(POLL_S)


@contextlib.contextmanager
def _write_policies() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="stepdown-") as folder:
        (Path(folder) / "demo.yaml").write_text(POLICY)
        yield Path(folder)


def _print_end(board: Board, reasons: dict[str, Explanation | None], console: Console) -> None:
    if not console.is_terminal:
        # The last picture ends without a line break there.
        console.print()
        for name, value in board.list_figures():
            console.print(f"{name}: {value}")
    for decision, explanation in reasons.items():
        if explanation is not None:
            console.print(f"\n[bold]stepdown why[/bold]: the last answer that was {decision}")
            lines = "\n".join(render_explanation(explanation))
            console.print(lines, highlight=False, markup=False, soft_wrap=True)
    console.print(
        "\nThe teacher and its latency were simulated; prices are list prices. Next:\n"
        "  stepdown demo --traffic FILE.jsonl  your own {messages, answer} pairs\n"
        "  stepdown serve --open               a gateway for your app, with the base URL\n"
        "                                      http://127.0.0.1:8080/v1\n"
        "  policies/README.md                  how good a local answer must be",
        highlight=False,
        soft_wrap=True,
    )
