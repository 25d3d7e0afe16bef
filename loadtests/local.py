"""What an answer of a local specialist costs: per second and core, CPU by process and stage, latency.

`python -m loadtests.local --data snips_slots` trains a head (or, with `--recipe`, another specialist), lets
it serve all that it drafts, and asks it texts that it has never learnt, each once. Beside it, in the same
run, a user's alternative: sentence-transformers and scikit-learn in one server.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec
from rich.console import Console

from gateway.cli import read_count
from gateway.demo.stack import Stack
from gateway.demo.tickets import Pair
from gateway.errors import ConfigError, TrainingError
from gateway.ipc.child_process import end_process
from gateway.processes.building import create_recipe
from gateway.processes.learner import limit_threads
from gateway.store.home import Home
from gateway.store.run_file import read_run_file
from loadtests.datasets import read_data
from loadtests.support.draft_stages import measure_cold_load_ms, measure_stages
from loadtests.support.fleet import http_requests, make_fleet, train_specialist
from loadtests.support.generator import Generator, Job, Result
from loadtests.support.local_figures import Figures, Others, Round, build_table
from loadtests.support.open_loop import Offer, Offered, offer_elsewhere
from loadtests.support.processes import child_named, rss_mb, thread_times_s

PROMPT = "Name the intent of the message."
AT_ONCE = (1, 8, 64)
LEARNT_AT_ONCE = 8
WARM_UP_ROUNDS = 20
WIDTH = 256
"""Connections of the open loop: a request is missed only if all of them wait."""

_Result = TypeVar("_Result", Result, Offered)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.local", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a fetched data set, a folder or a file")
    parser.add_argument("--task", default="", help="another reading of the data set: json (snips_slots)")
    parser.add_argument("--recipe", default="head", help="what trains the specialist (head)")
    parser.add_argument("--models", type=Path, default=Path("no-models"), help="folder of pulled bases")
    parser.add_argument("--lessons", type=read_count, default=2_000, help="texts that it learns (2,000)")
    parser.add_argument("--specialists", type=read_count, default=1, help="tasks that are asked in turn (1)")
    parser.add_argument("--popular", type=int, default=0, help="tasks that get nine of ten requests (none)")
    parser.add_argument("--memory-mb", type=int, default=1_024, help="memory of all versions (1,024)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each round (4)")
    parser.add_argument("--alternative", action="store_true", help="also sentence-transformers; for labels")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    if not 0 <= options.popular < options.specialists:
        parser.error(f"--popular: 0 to {options.specialists - 1}, some of the specialists")

    limit_threads()
    try:
        figures = measure(options)
    except (ConfigError, TrainingError) as exc:
        parser.error(str(exc))
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(figures)))
    Console(width=150).print(build_table(figures))


def measure(options: argparse.Namespace) -> Figures:
    """Return the figures of a run with the command line's `options`."""
    load = round(os.getloadavg()[0], 1)
    data = read_data(options.data, 0, None, options.task)
    taught, asked = data.pairs[: options.lessons], data.pairs[options.lessons :]
    if not asked:
        raise ConfigError(f"{data.name} has {len(data.pairs):,} rows: after the lessons none is left to ask")
    with tempfile.TemporaryDirectory(prefix="stepdown-") as scratch:
        folder = Path(scratch)
        recipe = create_recipe(options.recipe, {})
        specialist = train_specialist(recipe, taught, folder / "version", options.models, data.alpha)
        prompts = [f"{PROMPT} Shop {number}." for number in range(options.specialists)]
        (folder / "policies").mkdir()
        home = Home(folder / "home")
        make_fleet(home, folder / "policies", specialist, prompts)
        requests = _requests(prompts, asked, options.popular)
        environment = {
            "STEPDOWN_LEARN_INTERVAL_S": "3600",
            "STEPDOWN_SPECIALISTS_MEMORY_MB": str(options.memory_mb),
        }
        with (
            Generator() as generator,
            Stack(home=home, policies=folder / "policies", environment=environment) as stack,
        ):
            processes = _processes(home)
            site = _Site(_port(stack.gateway_url), processes, generator)
            rounds = _all_rounds(site, requests, options)
            learnt = _closed(site, _requests(prompts, taught), LEARNT_AT_ONCE, options.seconds)
            rounds.append(msgspec.structs.replace(learnt, name=f"{learnt.name}, learnt texts"))
            memory = {name: round(rss_mb(pid), 1) for name, pid in processes.items()}
        texts = [pair.messages[-1]["content"] for pair in asked]
        draft_costs, cold_load_ms = measure_stages(specialist, texts), measure_cold_load_ms(home, texts[0])
        if options.alternative:
            rounds += _alternative(taught, requests, folder / "pairs.jsonl", options)
    return Figures(
        load_average=load,
        data=data.name,
        specialists=options.specialists,
        encoder=specialist.encoder,
        stage_ms=draft_costs.stage_ms,
        first_stage_share=draft_costs.first_stage_share,
        cold_load_ms=cold_load_ms,
        rounds=rounds,
        rss_mb=memory,
    )


class _Site(msgspec.Struct, frozen=True):
    """A server, the processes whose CPU is counted, and who asks."""

    port: int
    processes: dict[str, int]
    generator: Generator


def _all_rounds(site: _Site, requests: Iterator[bytes], options: argparse.Namespace) -> list[Round]:
    _warm_up(site, requests)
    rounds = [_closed(site, requests, count, options.seconds) for count in AT_ONCE]
    half = max(one.per_s for one in rounds) / 2
    return [*rounds, _open(site, requests, half, options.seconds)]


def _warm_up(site: _Site, requests: Iterator[bytes]) -> None:
    """Ask until the host has loaded every version, or for WARM_UP_ROUNDS seconds."""
    for _ in range(WARM_UP_ROUNDS):
        job = Job(port=site.port, requests=_take(requests, 500), in_flight=8, seconds=1.0)
        result = site.generator.attempt(job)
        if not result.failed and "escalated" not in result.latencies_ms:
            return


def _closed(site: _Site, requests: Iterator[bytes], count: int, seconds: float) -> Round:
    """Ask as fast as `count` clients at once are answered."""
    some = _take(requests, int(1_500 * seconds))

    def ask() -> Result:
        return site.generator.attempt(
            Job(port=site.port, requests=some, in_flight=count, seconds=seconds, count=len(some))
        )

    result, cpu = _with_cpu(site, ask)
    local = result.latencies_ms.get("local") or result.latencies_ms.get("", [])
    others = Others(escalated=result.answers - len(local), failed=len(result.failed))
    return _round(f"closed, {count} at once", local, others, result.seconds, cpu)


def _open(site: _Site, requests: Iterator[bytes], per_s: float, seconds: float) -> Round:
    """Ask at a rate that does not depend on the answers."""
    some = _take(requests, int(per_s * seconds) + WIDTH)
    offer = Offer(port=site.port, requests=some, width=WIDTH, seconds=seconds, per_s=per_s)
    offered, cpu = _with_cpu(site, lambda: asyncio.run(offer_elsewhere(offer)))
    others = Others(failed=sum(offered.failed.values()) + len(offered.shed_ms) + offered.missed)
    return _round(f"open, {per_s:.0f}/s", offered.good_ms, others, seconds, cpu)


def _with_cpu(site: _Site, ask: Callable[[], _Result]) -> tuple[_Result, dict[str, float]]:
    before = {name: thread_times_s(pid) for name, pid in site.processes.items()}
    result = ask()
    return result, {name: _spent_s(before[name], pid) for name, pid in site.processes.items()}


def _spent_s(before: dict[int, float], pid: int) -> float:
    # By thread: one that ended takes its past out of a sum.
    return sum(spent - before.get(thread, 0.0) for thread, spent in thread_times_s(pid).items())


def _round(name: str, local_ms: list[float], others: Others, seconds: float, cpu: dict[str, float]) -> Round:
    count = len(local_ms)
    cpu_ms = {process: round(used / count * 1e3, 2) for process, used in cpu.items()}
    cuts = statistics.quantiles(local_ms, n=100)
    return Round(
        name=name,
        answers=count,
        others=others,
        per_s=round(count / seconds, 1),
        per_s_per_core=round(count / sum(cpu.values()), 1),
        cpu_ms=cpu_ms,
        p50_ms=round(cuts[49], 2),
        p99_ms=round(cuts[98], 2),
    )


def _alternative(
    taught: Sequence[Pair], requests: Iterator[bytes], pairs: Path, options: argparse.Namespace
) -> list[Round]:
    pairs.write_bytes(b"".join(msgspec.json.encode(pair) + b"\n" for pair in taught))
    with _alternative_server(pairs) as (port, pid), Generator() as generator:
        rounds = _all_rounds(_Site(port, {"server": pid}, generator), requests, options)
    return [msgspec.structs.replace(one, name=f"sentence-transformers: {one.name}") for one in rounds]


@contextmanager
def _alternative_server(pairs: Path) -> Iterator[tuple[int, int]]:
    command = [sys.executable, "-m", "loadtests.support.alternative", str(pairs)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process.pid
    finally:
        end_process(process, 5.0)
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()


def _requests(prompts: Sequence[str], pairs: Sequence[Pair], popular: int = 0) -> Iterator[bytes]:
    """Yield requests that ask the texts of `pairs`, again once all were asked, under the `prompts` in turn.

    With `popular` ones the others are asked in one of ten requests.
    """
    texts = [pair.messages[-1]["content"] for pair in pairs]
    turns, others = itertools.cycle(prompts[: popular or None]), itertools.cycle(prompts[popular:])
    for number, text in enumerate(itertools.cycle(texts)):
        is_other = popular and number % 10 == 0
        yield http_requests(next(others if is_other else turns), [text])[0]


def _take(requests: Iterator[bytes], count: int) -> list[bytes]:
    return [next(requests) for _ in range(count)]


def _processes(home: Home) -> dict[str, int]:
    supervisor = read_run_file(home).pid
    modules = {"worker": "gateway.processes.worker", "host": "gateway.specialists.host.process"}
    return {name: child_named(supervisor, module) for name, module in modules.items()}


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


if __name__ == "__main__":
    main()
