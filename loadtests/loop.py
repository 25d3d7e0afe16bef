"""The whole loop on recorded data: the real gateway over HTTP in front of a recorded teacher.

`python -m loadtests.loop --data clinc150` prints escalation per decile, agreement of
everything served, whether the certificate was kept, dollars and latency. `--seeds` repeats it.
With `--in-process` the same gateway runs without HTTP, and a seed of a head takes a minute.
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

from gateway.confidence.agreement import measure_loss
from gateway.core import EXACT
from gateway.demo.replay import ChatAnswer, SendChat, Served, replay_pairs
from gateway.demo.stack import Stack
from gateway.processes.learner import limit_threads
from gateway.settings import Learn
from gateway.specialists.encoders import create_encoder
from gateway.store.home import Home
from loadtests.datasets import DataSet, read_data
from loadtests.datasets.public_source import cache_folder
from loadtests.in_process import StoredEncoder, audit_key, open_gateway

MODEL = "gpt-4o"
DECILES = 10
CHUNK = 256
RECIPES = ("head", "span", "lora_sft")

_Replayed = tuple[list[Served], dict[str, Any]]
"""Every answer in the order of the requests, and the status report at the end."""


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
    escalation_last_decile_range: tuple[float, float]
    escalation: float
    escalation_range: tuple[float, float]
    local_disagreement: float
    local_disagreement_range: tuple[float, float]
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
        runs.append(_run(data, seed, options))
        console.print(_table(runs))
    summary = _summary(runs)
    console.print(_describe(summary))
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(summary)))
    kept = summary.certificate_kept
    console.print(f"certificate kept in {kept} of {len(runs)} seeds; kept means local disagreement <= alpha")
    return 0 if kept >= 0.9 * len(runs) else 3


def _run(data: DataSet, seed: int, options: argparse.Namespace) -> Figures:
    """Send every pair of `data` through a new gateway and return the figures."""
    alpha = options.alpha or data.alpha
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        policies = Path(folder)
        (policies / "default.yaml").write_text(
            f'policies:\n  - name: default\n    models: ["*"]\n    alpha: {alpha}\n'
            f"    agreement: {options.agreement}\n"
        )
        replay = _run_in_process if options.in_process else _run_over_http
        served, status = replay(data, seed, policies, options)
    losses = [
        measure_loss(pair.answer, one.answer, agreement=options.agreement)
        for pair, one in zip(data.pairs, served, strict=True)
    ]
    return _figures(data, seed, served, losses, status, alpha=alpha, seconds=time.monotonic() - begun)


def _run_over_http(data: DataSet, seed: int, policies: Path, options: argparse.Namespace) -> _Replayed:
    environment = {
        "STEPDOWN_LEARN_SEED": str(seed),
        "STEPDOWN_LEARN_INTERVAL_S": "0.1",
        "STEPDOWN_LEARN_RECIPES": ",".join(options.recipes),
    }
    home = Home(policies / "home")
    home.make()
    home.audit_key.write_bytes(audit_key(seed))
    if options.models:
        home.models.symlink_to(options.models.resolve())
    with Stack(model=MODEL, home=home, policies=policies, environment=environment) as stack:
        stack.set_pairs(data.pairs)
        served = asyncio.run(_replayed(data, stack, options.in_flight))
        return served, stack.wait_until_settled()


def _run_in_process(data: DataSet, seed: int, policies: Path, options: argparse.Namespace) -> _Replayed:
    """Return what `_run_over_http` does; the learner steps between two chunks, and only there."""
    limit_threads()
    encoder = StoredEncoder(create_encoder("minilm"), options.vectors, data.name)
    learn = Learn(seed=seed, recipes=options.recipes)
    served: list[Served] = []
    with open_gateway(policies, encoder, learn, options.models) as gateway:
        for start in range(0, len(data.pairs), CHUNK):
            finished = asyncio.run(gateway.answer_all(data.pairs[start : start + CHUNK], MODEL))
            served += finished
            for event in gateway.learn():
                print(f"{len(served):,}: {event}", file=sys.stderr)
            _print_progress(finished, len(served), data)
        encoder.save()
        return served, gateway.status()


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
        _print_progress(finished, len(served), data)
    return served


def _print_progress(finished: Sequence[Served], sent: int, data: DataSet) -> None:
    local = _share([one.decision == "local" for one in finished])
    print(f"{sent:,} of {len(data.pairs):,}: {local:.0%} of the last local", file=sys.stderr)


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
    data: DataSet,
    seed: int,
    served: list[Served],
    losses: list[float],
    status: dict[str, Any],
    *,
    alpha: float,
    seconds: float,
) -> Figures:
    local = [one for one in served if one.decision == "local"]
    by_version: dict[str, list[float]] = {}
    for one, loss in zip(served, losses, strict=True):
        if one.decision == "local":
            by_version.setdefault(one.served_by, []).append(loss)
    wrong = _share([loss for of_version in by_version.values() for loss in of_version])
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
        agreement_served=round(1.0 - _share(losses), 4),
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
    last = [one.escalation_by_decile[-1] for one in runs]
    whole = [1.0 - one.local_share for one in runs]
    wrong = [one.local_disagreement for one in runs]
    added = [one.local_p50_ms - one.teacher_p50_ms for one in runs if one.local_p50_ms is not None]
    return Summary(
        data=runs[0].data,
        alpha=runs[0].alpha,
        seeds=len(runs),
        escalation_last_decile=round(statistics.fmean(last), 4),
        escalation_last_decile_range=(min(last), max(last)),
        escalation=round(statistics.fmean(whole), 4),
        escalation_range=(round(min(whole), 4), round(max(whole), 4)),
        local_disagreement=round(statistics.fmean(wrong), 4),
        local_disagreement_range=(min(wrong), max(wrong)),
        agreement_served=round(statistics.fmean(one.agreement_served for one in runs), 4),
        certificate_kept=sum(one.certificate_kept for one in runs),
        usd_per_1000=round(statistics.fmean(one.usd_per_1000 for one in runs), 5),
        usd_per_1000_without=round(statistics.fmean(one.usd_per_1000_without for one in runs), 5),
        added_latency_ms=round(statistics.fmean(added), 2) if added else None,
        runs=runs,
    )


def _describe(summary: Summary) -> str:
    """Return means over the seeds, each with its range."""

    def percent(mean: float, ends: tuple[float, float]) -> str:
        return f"{mean:.1%} ({ends[0]:.1%} to {ends[1]:.1%})"

    return (
        f"{summary.data}, {summary.seeds} seeds, escalated: last tenth "
        f"{percent(summary.escalation_last_decile, summary.escalation_last_decile_range)}, whole stream "
        f"{percent(summary.escalation, summary.escalation_range)}; local wrong "
        f"{percent(summary.local_disagreement, summary.local_disagreement_range)}"
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


def _share(parts: Sequence[float]) -> float:
    """Return the mean of flags, or of losses."""
    return sum(parts) / len(parts) if parts else 0.0


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
    parser.add_argument("--agreement", default=EXACT, help="how the policy compares answers (exact)")
    parser.add_argument("--limit", type=int, help="only the first requests")
    parser.add_argument("--in-flight", type=int, default=8, help="concurrent requests (8)")
    parser.add_argument("--models", type=Path, help="folder of pulled bases, for generative students")
    parser.add_argument("--in-process", action="store_true", help="without HTTP, in this process")
    parser.add_argument(
        "--vectors",
        type=Path,
        default=cache_folder("").parent / "vectors",
        help="where --in-process keeps embeddings",
    )
    parser.add_argument(
        "--recipes",
        type=lambda names: tuple(names.split(",")),
        default=RECIPES,
        help="recipes that students may be trained by (all)",
    )
    parser.add_argument("--json", type=Path, help="write the figures here")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
