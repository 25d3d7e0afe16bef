"""The model against the machine: two workers predicted from one, and measured."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from gateway.store.home import Home
from loadtests.peers.prompts import build_requests
from loadtests.peers.running import Running, running, running_teacher
from loadtests.peers.teacher import PLAIN
from loadtests.scale.model import Saturated, predict_latency_ms, predict_saturated
from loadtests.support.generator import Generator, Job, Result
from loadtests.support.processes import cpu_s, idle_s

IN_FLIGHT = 16
REQUEST_BYTES = 1_024


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker did, what two were predicted to do, and what they did."""

    one: float
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        """The distance of the prediction, as a share of what was measured."""
        return abs(self.predicted - self.measured) / self.measured


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """Medians over rounds of one worker and two, in turn: what else goes on strikes both."""

    load_average: float
    requests_per_s: Figure
    """With IN_FLIGHT requests at a time."""
    p50_ms: Figure
    """Of these."""
    alone_p50_ms: Figure
    """With one request at a time per worker."""
    errors: list[float]
    """Of the throughput in each round."""
    refused_share: float
    """Of the requests, because a worker waited for its core: far above 0, the machine was too busy."""
    row_bytes: float
    """Of the harvest, beside the request: what `costs.toml` needs."""

    @property
    def error(self) -> float:
        """The largest of the three."""
        return max(self.requests_per_s.error, self.p50_ms.error, self.alone_p50_ms.error)


def check_model(scratch: Path, shared_cache: float, *, seconds: float, rounds: int) -> Check:
    """Measure `rounds` of one worker and two, `seconds` each, at once and one by one."""
    load_average = os.getloadavg()[0]
    with ExitStack() as stack:
        port, teacher = stack.enter_context(running_teacher(os.sched_getaffinity(0)))
        generator = stack.enter_context(Generator())
        one = stack.enter_context(_stepdown(scratch / "one", port, 1))
        two = stack.enter_context(_stepdown(scratch / "two", port, 2))
        site = _Site(generator, teacher, seconds)
        for target in (one, two):
            site.ask(target, IN_FLIGHT)
        pairs, alone = [], []
        for _ in range(rounds):
            pairs.append((site.saturate(one), site.saturate(two)))
            alone.append((site.ask(one, 1), site.ask(two, 2)))
    throughputs = [_compare_throughput(*pair, shared_cache) for pair in pairs]
    return Check(
        load_average=load_average,
        requests_per_s=_take_medians(throughputs),
        p50_ms=_take_medians([_compare_latency(*pair, shared_cache) for pair in pairs]),
        alone_p50_ms=_take_medians([_compare_alone(*pair, shared_cache) for pair in alone]),
        errors=[one.error for one in throughputs],
        refused_share=site.refused / (site.refused + sum(site.asked.values())),
        row_bytes=_harvest_bytes(scratch / "one") / site.asked[one.port] - REQUEST_BYTES,
    )


class _Site:
    """Who asks the gateways, and who answers them."""

    def __init__(self, generator: Generator, teacher: int, seconds: float) -> None:
        self.asked: dict[int, int] = {}
        self.refused = 0
        self._generator = generator
        self._teacher = teacher
        self._seconds = seconds

    def ask(self, target: Running, in_flight: int) -> Result:
        """Ask as fast as so many at a time are answered."""
        requests = build_requests(REQUEST_BYTES, target.headers, PLAIN)
        # A worker that waits long for its core refuses some, at a fifteenth of the cost of an answer.
        result = self._generator.attempt(
            Job(port=target.port, requests=requests, in_flight=in_flight, seconds=self._seconds)
        )
        self.asked[target.port] = self.asked.get(target.port, 0) + result.answers
        self.refused += len(result.failed)
        return result

    def saturate(self, target: Running) -> tuple[Saturated, float]:
        """Ask more than it can do; return what it did, and the median of the latencies."""
        worker, load, idle = sum(target.workers_cpu_s()), cpu_s(self._teacher), idle_s()
        result = self.ask(target, IN_FLIGHT)
        worker_s = sum(target.workers_cpu_s()) - worker
        load_s = cpu_s(self._teacher) - load + result.cpu_s
        saturated = Saturated(
            per_s=result.answers / result.seconds,
            worker_us=worker_s / result.answers * 1e6,
            load_us=load_s / result.answers * 1e6,
            idle_cores=(idle_s() - idle) / result.seconds,
        )
        return saturated, _p50_ms(result)


def _compare_throughput(
    one: tuple[Saturated, float], two: tuple[Saturated, float], shared_cache: float
) -> Figure:
    return Figure(one=one[0].per_s, predicted=_predict(one[0], shared_cache), measured=two[0].per_s)


def _compare_latency(
    one: tuple[Saturated, float], two: tuple[Saturated, float], shared_cache: float
) -> Figure:
    predicted_ms = predict_latency_ms(one[1], one[0].per_s, _predict(one[0], shared_cache))
    return Figure(one=one[1], predicted=predicted_ms, measured=two[1])


def _compare_alone(one: Result, two: Result, shared_cache: float) -> Figure:
    # Each worker is a queue of its own and gets as much as the one did: only the cache is shared.
    return Figure(one=_p50_ms(one), predicted=_p50_ms(one) * shared_cache, measured=_p50_ms(two))


def _predict(one: Saturated, shared_cache: float) -> float:
    return predict_saturated(one, 2, len(os.sched_getaffinity(0)), shared_cache)


def _take_medians(figures: list[Figure]) -> Figure:
    return Figure(
        one=statistics.median(figure.one for figure in figures),
        predicted=statistics.median(figure.predicted for figure in figures),
        measured=statistics.median(figure.measured for figure in figures),
    )


def _p50_ms(result: Result) -> float:
    return statistics.median(taken for some in result.latencies_ms.values() for taken in some)


@contextmanager
def _stepdown(scratch: Path, teacher_port: int, workers: int) -> Iterator[Running]:
    with running(
        "stepdown",
        peers=None,
        scratch=scratch,
        teacher_port=teacher_port,
        cores=os.sched_getaffinity(0),
        flags=("--workers", str(workers)),
    ) as target:
        yield target


def _harvest_bytes(scratch: Path) -> int:
    """Return the size of the harvest in the one home below `scratch`."""
    [home] = {file.parent for file in scratch.rglob("state.db")}
    return sum(file.stat().st_size for file in Home(home).harvest.iterdir())
