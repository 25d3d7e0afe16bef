"""What training costs the requests that pass meanwhile: `python -m loadtests.training --data DIR`.

A gateway proxies one request at a time, first with an idle learner, then while that learns recorded rows
which were imported. A round counts only if the learner used a third of a core or more. Figures
mean something on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import numpy as np

from gateway.demo.stack import Stack
from gateway.demo.tickets import generate_tickets
from gateway.store.home import Home
from loadtests.datasets import read_data
from loadtests.support.chat_requests import make_questions
from loadtests.support.generator import Generator, Job
from loadtests.support.processes import child_named, peak_rss_mb, thread_times_s

RECIPES = ("head", "span", "lora_sft")
ROUND, ROUNDS = 3_000, 8
"""Requests in a round, and the most rounds of each kind."""
_BUSY_CORES = 0.3
_PASSING_MODEL = "passing"
_POLICIES = (
    "policies:\n"
    f"  - name: passing\n    models: [{_PASSING_MODEL}]\n    harvest: false\n"
    '  - name: learning\n    models: ["*"]\n'
)
_START_LIMIT_S = 120.0


class Round(msgspec.Struct, frozen=True):
    """Milliseconds of one round, and the cores that the learner used meanwhile."""

    p50_ms: float
    p99_ms: float
    learner_cores: float


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Medians over the rounds."""

    data: str
    recipe: str
    rows: int
    load_average: float
    idle_p50_ms: float
    idle_p99_ms: float
    training_p50_ms: float
    training_p99_ms: float
    ratio_p99: float
    rounds: tuple[int, int]
    """Idle, training."""
    learner_cores: float
    learner_peak_mb: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.training", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of a data set")
    parser.add_argument("--task", default="", help="another reading of the data set: json (snips_slots)")
    parser.add_argument("--recipe", choices=RECIPES, default="span", help="(default: %(default)s)")
    parser.add_argument("--rows", type=int, default=4_000, help="rows to learn (default: %(default)s)")
    parser.add_argument("--models", type=Path, help="folder of pulled base models, for lora_sft")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="stepdown-") as scratch:
        figures = _measure(options, Path(scratch))
    encoded = msgspec.json.format(msgspec.json.encode(figures))
    if options.json:
        options.json.write_bytes(encoded)
    print(encoded.decode())
    return 0


def _measure(options: argparse.Namespace, scratch: Path) -> Figures:
    load = round(os.getloadavg()[0], 1)
    data = read_data(options.data, 0, options.rows, options.task)
    recorded = scratch / "recorded.jsonl"
    recorded.write_bytes(b"".join(msgspec.json.encode(pair) + b"\n" for pair in data.pairs))
    (scratch / "policies").mkdir()
    (scratch / "policies" / "default.yaml").write_text(_POLICIES)
    home = Home(scratch / "home")
    home.make()
    if options.models:
        home.models.symlink_to(options.models.resolve(), target_is_directory=True)
    environment = {
        "STEPDOWN_LEARN_INTERVAL_S": "0.5",
        "STEPDOWN_LEARN_RECIPES": options.recipe,
    }
    with (
        Generator() as generator,
        Stack(home=home, policies=scratch / "policies", environment=environment) as stack,
    ):
        learner = child_named(stack.gateway_pid, "gateway.processes.learner")
        job = _make_job(stack)
        idle = [_run_round(generator, job, learner) for _ in range(ROUNDS)]
        _import_rows(recorded, home, scratch / "policies")
        training = list(_rounds_beside_training(generator, job, learner))
        peak = peak_rss_mb(learner)
    if not training:
        raise SystemExit("the training ended before a round did: give it more --rows")
    before, beside = (statistics.median(each.p99_ms for each in some) for some in (idle, training))
    return Figures(
        data=data.name,
        recipe=options.recipe,
        rows=len(data.pairs),
        load_average=load,
        idle_p50_ms=statistics.median(each.p50_ms for each in idle),
        idle_p99_ms=before,
        training_p50_ms=statistics.median(each.p50_ms for each in training),
        training_p99_ms=beside,
        ratio_p99=beside / before,
        rounds=(len(idle), len(training)),
        learner_cores=statistics.median(each.learner_cores for each in training),
        learner_peak_mb=peak,
    )


def _rounds_beside_training(generator: Generator, job: Job, learner: int) -> Iterator[Round]:
    """Wait until the learner works, and yield the rounds in which it does."""
    deadline = time.monotonic() + _START_LIMIT_S
    counted = 0
    while counted < ROUNDS and time.monotonic() < deadline:
        one = _run_round(generator, job, learner)
        if one.learner_cores >= _BUSY_CORES:
            counted += 1
            deadline = time.monotonic() + _START_LIMIT_S
            yield one


def _run_round(generator: Generator, job: Job, learner: int) -> Round:
    began, before = time.monotonic(), sum(thread_times_s(learner).values())
    result = generator.run(job)
    used = (sum(thread_times_s(learner).values()) - before) / (time.monotonic() - began)
    taken = [ms for some in result.latencies_ms.values() for ms in some]
    p50, p99 = np.quantile(taken, (0.5, 0.99)).tolist()
    return Round(p50, p99, used)


def _make_job(stack: Stack) -> Job:
    port = urlsplit(stack.gateway_url).port
    assert port is not None
    questions = make_questions(generate_tickets(ROUND, seed=1), _PASSING_MODEL)
    return Job(port=port, requests=questions, in_flight=1, count=ROUND)


def _import_rows(recorded: Path, home: Home, policies: Path) -> None:
    command = [sys.executable, "-m", "gateway", "harvest", "import", "--model", "gpt-4o", "--tenant", "open"]
    command.append(str(recorded))
    environment = {"STEPDOWN_HOME": str(home.folder), "STEPDOWN_POLICIES_FOLDER": str(policies)}
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"the import failed: {done.stderr or done.stdout}")


if __name__ == "__main__":
    raise SystemExit(main())
