"""The whole loop on recorded data: the real gateway over HTTP in front of a recorded teacher.

`python -m loadtests.loop --data clinc150` prints escalation per decile, agreement of
everything served, whether the certificate was kept, dollars and latency. `--seeds` repeats it.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from rich.console import Console
from rich.table import Table

from gateway.demo.replay import ChatAnswer, SendChat, Served, replay_pairs
from gateway.demo.stack import Stack
from gateway.store.home import Home
from loadtests.datasets import DataSet, read_data

MODEL = "gpt-4o"
DECILES = 10
CHUNK = 256


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one run. Shares are 0..1, latencies milliseconds at the client."""

    data: str
    seed: int
    alpha: float
    requests: int
    escalation_by_decile: list[float]
    local_share: float
    agreement_served: float
    local_disagreement: float
    worst_version_disagreement: float
    certificate_kept: bool
    usd_per_1000: float
    usd_per_1000_without: float
    local_p50_ms: float | None
    teacher_p50_ms: float
    stage: str
    versions: int | None
    audits: int
    audits_missing: int | None
    note: str
    seconds: float


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Means over the seeds, and all runs."""

    data: str
    alpha: float
    seeds: int
    escalation_last_decile: float
    agreement_served: float
    certificate_kept: int
    usd_per_1000: float
    usd_per_1000_without: float
    added_latency_ms: float | None
    """Local p50 minus that of the recorded teacher, which answers at once."""
    runs: list[Figures]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the loop once per seed, print a table, write `--json`; return 3 if a certificate was broken."""
    options = _options().parse_args(arguments)
    console = Console(width=170)
    runs = []
    for seed in range(options.seed, options.seed + options.seeds):
        data = read_data(options.data, seed, options.limit, options.task)
        runs.append(run(data, seed, options.alpha or data.alpha, options.in_flight, options.models))
        console.print(_table(runs))
    summary = _summary(runs)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(summary)))
    kept = summary.certificate_kept
    console.print(f"certificate kept in {kept} of {len(runs)} seeds; kept means local disagreement <= alpha")
    return 0 if kept >= 0.9 * len(runs) else 3


def run(data: DataSet, seed: int, alpha: float, in_flight: int, models: Path | None = None) -> Figures:
    """Send every pair of `data` through a new gateway and return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        policies = Path(folder)
        (policies / "default.yaml").write_text(
            f'policies:\n  - name: default\n    models: ["*"]\n    alpha: {alpha}\n'
        )
        begun = time.monotonic()
        environment = {"STEPDOWN_LEARN_SEED": str(seed), "STEPDOWN_LEARN_INTERVAL_S": "0.1"}
        home = Home(policies / "home")
        home.make()
        home.audit_key.write_bytes(b"%d" % seed)
        if models:
            home.models.symlink_to(models.resolve())
        with Stack(model=MODEL, home=home, policies=policies, environment=environment) as stack:
            stack.set_pairs(data.pairs)
            served = asyncio.run(_replayed(data, stack, in_flight))
            seconds = time.monotonic() - begun
            status = stack.wait_until_settled()
    return _figures(data, seed, served, status, alpha=alpha, seconds=seconds)


async def _replayed(data: DataSet, stack: Stack, in_flight: int) -> list[Served]:
    """Return every answer in the order of the requests.

    Days of traffic pass in a minute here, so between two chunks the replay waits until the
    learner has looked at the harvest, as it has time to between real requests.
    """
    served: list[Served] = []
    for start in range(0, len(data.pairs), CHUNK):
        chunk = data.pairs[start : start + CHUNK]
        finished = [
            one async for one in replay_pairs(chunk, lean_client(stack.gateway_url, MODEL), in_flight)
        ]
        served += sorted(finished, key=lambda one: one.number)
        await asyncio.to_thread(stack.wait_for_learner)
        local = _share([one.decision == "local" for one in finished])
        print(f"{len(served):,} of {len(data.pairs):,}: {local:.0%} of the last local", file=sys.stderr)
    return served


@asynccontextmanager
async def lean_client(base_url: str, model: str) -> AsyncIterator[SendChat]:
    """Yield a client that leaves the two cores to the gateway."""
    url = f"{base_url}/v1/chat/completions"
    async with aiohttp.ClientSession() as session:

        async def ask(messages: list[dict[str, str]]) -> ChatAnswer:
            async with session.post(url, json={"model": model, "messages": messages}) as reply:
                body = await reply.json()
                if reply.status != 200:
                    raise RuntimeError(f"HTTP {reply.status}: {body}")
                return ChatAnswer(reply.headers, body["choices"][0]["message"]["content"])

        yield ask


def _figures(
    data: DataSet, seed: int, served: list[Served], status: dict[str, Any], *, alpha: float, seconds: float
) -> Figures:
    local = [one for one in served if one.decision == "local"]
    by_version: dict[str, list[bool]] = {}
    for one in local:
        by_version.setdefault(one.served_by, []).append(not one.agrees)
    wrong = _share([not one.agrees for one in local])
    costs, standing = status["costs"], (status["tasks"] or [{}])[0]
    return Figures(
        data=data.name,
        seed=seed,
        alpha=alpha,
        requests=len(served),
        escalation_by_decile=[
            round(_share([one.decision != "local" for one in part]), 4) for part in _parts(served)
        ],
        local_share=round(len(local) / len(served), 4),
        agreement_served=round(_share([one.agrees for one in served]), 4),
        local_disagreement=round(wrong, 4),
        worst_version_disagreement=round(max(map(_share, by_version.values()), default=0.0), 4),
        certificate_kept=wrong <= alpha,
        usd_per_1000=round(costs["usd"] / len(served) * 1000, 5),
        usd_per_1000_without=round(costs["counterfactual_usd"] / len(served) * 1000, 5),
        local_p50_ms=_p50([one.latency_ms for one in local]),
        teacher_p50_ms=_p50([one.latency_ms for one in served if one.decision != "local"]) or 0.0,
        stage=standing.get("stage", "none"),
        versions=standing.get("version"),
        audits=standing.get("audits", 0),
        audits_missing=standing.get("audits_missing"),
        note=standing.get("note", ""),
        seconds=round(seconds, 1),
    )


def _summary(runs: list[Figures]) -> Summary:
    added = [one.local_p50_ms - one.teacher_p50_ms for one in runs if one.local_p50_ms is not None]
    return Summary(
        data=runs[0].data,
        alpha=runs[0].alpha,
        seeds=len(runs),
        escalation_last_decile=round(statistics.fmean(one.escalation_by_decile[-1] for one in runs), 4),
        agreement_served=round(statistics.fmean(one.agreement_served for one in runs), 4),
        certificate_kept=sum(one.certificate_kept for one in runs),
        usd_per_1000=round(statistics.fmean(one.usd_per_1000 for one in runs), 5),
        usd_per_1000_without=round(statistics.fmean(one.usd_per_1000_without for one in runs), 5),
        added_latency_ms=round(statistics.fmean(added), 2) if added else None,
        runs=runs,
    )


def _table(runs: Sequence[Figures]) -> Table:
    table = Table(title=f"{runs[0].data}: {runs[0].requests:,} requests, alpha {runs[0].alpha:.0%}")
    table.add_column("seed")
    for decile in range(1, DECILES + 1):
        table.add_column(f"d{decile}", justify="right")
    for name in ("served = teacher", "local wrong", "kept", "$/1000", "local/teacher p50 ms", "stage"):
        table.add_column(name, justify="right")
    for one in runs:
        missing = f", {one.audits_missing} audits missing" if one.audits_missing else ""
        table.add_row(
            str(one.seed),
            *(f"{share:.0%}" if share > 0.1 else f"{share:.1%}" for share in one.escalation_by_decile),
            f"{one.agreement_served:.1%}",
            f"{one.local_disagreement:.2%}",
            "yes" if one.certificate_kept else "NO",
            f"{one.usd_per_1000:.4f} of {one.usd_per_1000_without:.4f}",
            f"{one.local_p50_ms or 0:.1f} / {one.teacher_p50_ms:.1f}",
            f"{one.stage} v{one.versions}{missing}",
        )
    return table


def _parts(served: list[Served]) -> list[list[Served]]:
    edges = [len(served) * number // DECILES for number in range(DECILES + 1)]
    return [served[start:end] for start, end in pairwise(edges)]


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else 0.0


def _p50(values: Sequence[float]) -> float | None:
    return round(statistics.median(values), 2) if values else None


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="loadtests.loop", description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="a fetched data set's name, its folder, or a .jsonl file"
    )
    parser.add_argument("--task", default="", help="another reading of the data set: json (snips_slots)")
    parser.add_argument("--seed", type=int, default=0, help="first seed (0)")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds (1)")
    parser.add_argument("--alpha", type=float, help="alpha of the certificate (the data set's own)")
    parser.add_argument("--limit", type=int, help="only the first requests")
    parser.add_argument("--in-flight", type=int, default=8, help="concurrent requests (8)")
    parser.add_argument("--models", type=Path, help="folder of pulled bases, for generative students")
    parser.add_argument("--json", type=Path, help="write the figures here")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
