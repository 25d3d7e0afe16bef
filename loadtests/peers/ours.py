"""Measurements of stepdown alone: its time to start, and the gain from a second worker."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from loadtests.peers.arithmetic import rounded
from loadtests.peers.bench import STREAMS_SATURATING, Bench, Length
from loadtests.peers.figures import Start, Workers
from loadtests.peers.running import Running, free_port, running, running_teacher
from loadtests.support.generator import Generator
from loadtests.support.processes import cpu_s

IMPORTS = 7
STARTS = 3
# Inside the interpreter, without its own start.
TIMED = "import time; begun = time.perf_counter(); import {}; print(time.perf_counter() - begun)"


class _Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A round: requests per second, CPU per request of all workers and of teacher and generator."""

    per_s: float
    worker_us: float
    load_us: float
    busiest_share: float


def measure_start(scratch: Path) -> Start:
    """Return the times until stepdown is imported, and ready; neither needs a teacher."""
    ready_s = []
    for number in range(STARTS):
        with _stepdown(scratch / f"start-{number}", free_port(), 1) as target:
            ready_s.append(target.ready_s)
    return Start(
        import_gateway_ms=_import_ms("gateway"),
        import_worker_ms=_import_ms("gateway.processes.worker"),
        ready_s=statistics.median(ready_s),
    )


def compare_workers(scratch: Path, length: Length) -> Workers:
    """Return the figures of two workers beside those of one; all processes share all cores."""
    cores = os.sched_getaffinity(0)
    samples: dict[int, list[_Sample]] = {1: [], 2: []}
    with running_teacher(cores) as (port, pid), Generator() as generator:
        bench = Bench(generator, pid, length)
        with _stepdown(scratch / "one", port, 1) as one, _stepdown(scratch / "two", port, 2) as two:
            for _ in range(length.rounds):
                for count, target in ((1, one), (2, two)):
                    samples[count].append(_sample(bench, target))
    if bench.failed["stepdown"]:
        raise RuntimeError(f"requests failed: {dict(bench.failed['stepdown'])}")
    return _compared(samples[1], samples[2])


@contextmanager
def _stepdown(scratch: Path, teacher_port: int, count: int) -> Iterator[Running]:
    cores = os.sched_getaffinity(0)
    with running(
        "stepdown",
        peers=None,
        scratch=scratch,
        teacher_port=teacher_port,
        cores=cores,
        flags=("--workers", str(count)),
    ) as target:
        yield target


def _import_ms(module: str) -> float:
    command = [sys.executable, "-c", TIMED.format(module)]
    times = [float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(IMPORTS)]
    return rounded(statistics.median(times) * 1000)


def _sample(bench: Bench, target: Running) -> _Sample:
    before, teacher_before = target.workers_cpu_s(), cpu_s(bench.teacher_pid)
    result = bench.run(target, in_flight=STREAMS_SATURATING, seconds=bench.length.seconds)
    spent = [now - then for now, then in zip(target.workers_cpu_s(), before, strict=True)]
    load_s = cpu_s(bench.teacher_pid) - teacher_before + result.cpu_s
    return _Sample(
        per_s=result.answers / result.seconds,
        worker_us=sum(spent) / result.answers * 1e6,
        load_us=load_s / result.answers * 1e6,
        busiest_share=max(spent) / sum(spent),
    )


def _compared(one: list[_Sample], two: list[_Sample]) -> Workers:
    per_s = [statistics.median(sample.per_s for sample in some) for some in (one, two)]
    worker_us = [statistics.median(sample.worker_us for sample in some) for some in (one, two)]
    load_us = statistics.median(sample.load_us for sample in one)
    share = statistics.median(sample.busiest_share for sample in two)
    return Workers(
        one_per_s=rounded(per_s[0]),
        two_per_s=rounded(per_s[1]),
        ratio=rounded(per_s[1] / per_s[0]),
        most=rounded(2 * worker_us[0] / (worker_us[0] + load_us)),
        cpu_us_of_one=rounded(worker_us[0]),
        cpu_us_of_two=rounded(worker_us[1]),
        busiest_share=rounded(share),
        ratio_with_free_cores=rounded(worker_us[0] / worker_us[1] / share),
    )
