"""The measurements of one gateway in one round, with the teacher, load and failures they share."""

from __future__ import annotations

import time
from collections import Counter, defaultdict

import msgspec

from loadtests.peers.arithmetic import quantile
from loadtests.peers.prompts import build_requests
from loadtests.peers.running import Running
from loadtests.peers.teacher import PLAIN, marker
from loadtests.support.generator import Generator, Job, Result
from loadtests.support.processes import cpu_s

SIZES = {"1k": 1_024, "10k": 10_240, "50k": 51_200}
SATURATING = 32
STREAMS_SATURATING, STREAMS_FEW = 64, 8
CHUNKS = 100
Sample = dict[str, float | None]
"""Figures of one round by their name in `figures.Figures`."""


class Length(msgspec.Struct, frozen=True, kw_only=True):
    """The length of each measurement."""

    seconds: float
    """Of each round under many requests."""
    rounds: int = 5
    block: int = 500
    """Requests of a round with one in flight; a slow gateway gets `seconds` for them."""
    memory_requests: int = 100_000
    memory_s: float = 90.0
    """The time a slow gateway gets for these."""
    open_chunks: int = 20
    """Of each of many open streams."""
    open_every_ms: int = 500


class Bench:
    """The shared part of all measurements: generator, teacher's process, lengths and failures."""

    def __init__(self, generator: Generator, teacher_pid: int, length: Length) -> None:
        self.generator = generator
        self.teacher_pid = teacher_pid
        self.length = length
        self.failed: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """Failed requests by gateway and reason."""

    def run(
        self,
        target: Running,
        *,
        in_flight: int,
        seconds: float,
        count: int | None = None,
        size: str = "1k",
        answer: str = PLAIN,
        opened_per_s: float | None = None,
    ) -> Result:
        """Send requests to `target`; note the failures."""
        limit = {} if count is None else {"count": count}
        job = Job(
            port=target.port,
            requests=build_requests(SIZES[size], target.headers, answer),
            in_flight=in_flight,
            seconds=seconds,
            opened_per_s=opened_per_s,
            times_chunks=answer != PLAIN,
            **limit,
        )
        result = self.generator.attempt(job)
        self.failed[target.name].update(result.failed)
        return result


def measure_saturation(bench: Bench, target: Running) -> Sample:
    """Measure requests per second and CPU for each size of prompt."""
    found: Sample = {}
    for size in SIZES:
        before, teacher_before = target.cpu_s(), cpu_s(bench.teacher_pid)
        result = bench.run(target, in_flight=SATURATING, seconds=bench.length.seconds, size=size)
        teacher_s = cpu_s(bench.teacher_pid) - teacher_before
        if not result.answers:
            continue
        found[f"plain_{size}_per_s"] = result.answers / result.seconds
        if target.plan:
            found[f"plain_{size}_cpu_us"] = (target.cpu_s() - before) / result.answers * 1e6
        if size == "1k":
            found["plain_1k_teacher_us"] = teacher_s / result.answers * 1e6
            found["plain_1k_generator_us"] = result.cpu_s / result.answers * 1e6
            found["load_core_busy"] = (teacher_s + result.cpu_s) / result.seconds
    return found


def measure_latency(bench: Bench, target: Running) -> Sample:
    """Measure the time of a plain request, and of the first chunk of a stream."""
    block, seconds = bench.length.block, bench.length.seconds
    plain = bench.run(target, in_flight=1, seconds=seconds, count=block)
    # Two chunks: only the first is measured, and the connection is free again soon.
    answer = marker(2, 1, "first")
    stream = bench.run(target, in_flight=1, seconds=seconds, count=block, answer=answer)
    took_ms = [one for some in plain.latencies_ms.values() for one in some]
    return {
        "p50_ms": quantile(took_ms, 0.5),
        "p99_ms": quantile(took_ms, 0.99),
        "first_chunk_ms": quantile(stream.first_ms, 0.5),
        "first_chunk_delay_p50_ms": quantile(stream.delays_ms, 0.5),
        "first_chunk_delay_p99_ms": quantile(stream.delays_ms, 0.99),
    }


def measure_streams(bench: Bench, target: Running) -> Sample:
    """Measure streams of CHUNKS chunks, first as many as possible, then a few for their CPU."""
    answer, seconds = marker(CHUNKS, 1, "first"), bench.length.seconds
    many = bench.run(target, in_flight=STREAMS_SATURATING, seconds=seconds, answer=answer)
    before = target.cpu_s()
    few = bench.run(target, in_flight=STREAMS_FEW, seconds=seconds, answer=answer)
    spent_s = target.cpu_s() - before
    found: Sample = {"streams_per_s": many.answers / many.seconds}
    if few.answers:
        found["pieces"] = few.pieces / few.answers
        if target.plan:
            found["chunk_cpu_us"] = spent_s / few.answers / CHUNKS * 1e6
    return found


def warm_up(bench: Bench, target: Running) -> None:
    """Let a just-in-time compiler see its requests."""
    for answer in (PLAIN, marker(CHUNKS, 1, "first")):
        bench.run(target, in_flight=STREAMS_FEW, seconds=bench.length.seconds, answer=answer)
    # Deferred work, such as writing the harvest, ends before the measurement.
    time.sleep(0.5)
