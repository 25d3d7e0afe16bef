"""Prometheus metrics of one worker, or of all workers of a machine together.

With PROMETHEUS_MULTIPROC_DIR in the environment at the start, every process writes its numbers
into that folder and any of them collects the sum; the folder must be empty at the start.
"""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from gateway.core import Outcome, Reading
from gateway.telemetry.capped_label import CappedLabel
from gateway.telemetry.certificates import Certificates, ListCertifications
from gateway.telemetry.costs import BudgetCollector, CostCounter, ListBudgets
from gateway.telemetry.refusals import Refusals

# A client can send any number of templates, each a route: without a bound it could fill the memory.
MAX_ROUTES = 200
MAX_REASONS = 100
# A local answer takes milliseconds, a teacher's up to minutes.
_BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Probe(msgspec.Struct, frozen=True):
    """A number that another object keeps, such as dropped rows; `read` must not block.

    A total only grows and its name ends in `_total`; anything else goes up and down.
    """

    name: str
    help: str
    read: Callable[[], float]

    @property
    def is_total(self) -> bool:
        """Whether the number only grows."""
        return self.name.endswith("_total")


class Metrics:
    """An observer that counts Outcomes for Prometheus.

    Counting only adds to sums in memory; `update_registry` moves them to the registry, because each
    number costs a microsecond in a file that processes share. `list_certifications` returns the
    certificates in force.
    """

    def __init__(
        self,
        probes: Sequence[Probe] = (),
        list_certifications: ListCertifications = tuple,
        list_budgets: ListBudgets = tuple,
    ) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "stepdown_requests",
            "Requests by decision and its reason.",
            ("decision", "reason", "route", "status"),
            registry=self._registry,
        )
        self._latency = self._histogram(
            "stepdown_latency_seconds", "First byte in to last byte out.", "decision", "streamed"
        )
        self._first_byte = self._histogram(
            "stepdown_first_byte_seconds", "First byte in to first byte out.", "decision", "streamed"
        )
        self._tokens = Counter(
            "stepdown_tokens", "Tokens by decision.", ("decision", "kind"), registry=self._registry
        )
        self.refusals = Refusals(self._registry)
        self._costs = CostCounter(self._registry)
        self._routes = CappedLabel(MAX_ROUTES)
        self._reasons = CappedLabel(MAX_REASONS)
        self._lock = threading.Lock()
        self._recent = _Recent()
        self._probes = [_ProbeMetric(probe, self._registry) for probe in probes]
        self._certificates = Certificates(list_certifications)
        self._budgets = BudgetCollector(list_budgets)
        self._folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")

    def __call__(self, outcome: Outcome, reading: Reading) -> None:
        """Count one Outcome."""
        decision, usage = outcome.decision, reading.usage
        route = self._routes.cap_label(outcome.route.task if outcome.route else "none")
        request = (decision, self._reasons.cap_label(outcome.reason), route, str(outcome.status))
        with self._lock:
            recent = self._recent
            recent.requests[request] = recent.requests.get(request, 0) + 1
            times = recent.times_of(decision, outcome.request.is_streamed)
            times.latency.add_value(outcome.latency_ms / 1000)
            if outcome.first_byte_ms:
                times.first_byte.add_value(outcome.first_byte_ms / 1000)
            if usage is not None and (reading.cost is None or reading.cost.is_billed):
                times.prompt_tokens += max(0, usage.prompt_tokens)
                times.completion_tokens += max(0, usage.completion_tokens)

        if reading.cost is not None:
            self._costs.count_cost(outcome, reading.cost)

    def update_registry(self) -> None:
        """Add what was counted and read every probe; call it a few times per second."""
        self._add_recent()
        self.refusals.update_registry()
        for probe in self._probes:
            probe.read_into_metric()

    def collect(self) -> Iterable[Metric]:
        """Return every family, of all processes where they share a folder; may block."""
        return self._combined_registry().collect()

    def render_text(self) -> bytes:
        """Return everything in Prometheus' text format, of all processes where they share a folder."""
        return generate_latest(self._combined_registry())

    def counting_since(self) -> float:
        """Return when counting began, in unix seconds: here, or in the first process that called this."""
        if self._folder is None:
            return time.time()
        # Workers come and go, their numbers stay: with a later beginning they would count twice.
        begun = Path(self._folder) / "begun"
        if not begun.exists():
            begun.touch()
        return begun.stat().st_mtime

    def _combined_registry(self) -> CollectorRegistry:
        self._add_recent()
        self.refusals.update_registry()
        combined = CollectorRegistry()
        if self._folder is None:
            combined.register(self._registry)
        else:
            _forget_ended_processes(Path(self._folder))
            MultiProcessCollector(combined)  # type: ignore[no-untyped-call]
        combined.register(self._certificates)
        combined.register(self._budgets)
        return combined

    def _add_recent(self) -> None:
        with self._lock:
            recent, self._recent = self._recent, _Recent()
        for labels, count in recent.requests.items():
            self._requests.labels(*labels).inc(count)
        self._costs.update_registry()
        for (decision, is_streamed), times in recent.times.items():
            streamed = "true" if is_streamed else "false"
            self._latency.labels(decision, streamed).add_observations(times.latency)
            self._first_byte.labels(decision, streamed).add_observations(times.first_byte)
            self._tokens.labels(decision, "prompt").inc(times.prompt_tokens)
            self._tokens.labels(decision, "completion").inc(times.completion_tokens)

    def _histogram(self, name: str, text: str, *labels: str) -> _Histogram:
        return _Histogram(name, text, labels, registry=self._registry, buckets=_BUCKETS_S)


class _Observations(msgspec.Struct):
    """Observations as counts per bucket, the last without an upper bound, and their sum."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(_BUCKETS_S) + 1))
    total: float = 0.0

    def add_value(self, value: float) -> None:
        self.counts[bisect_left(_BUCKETS_S, value)] += 1
        self.total += value


class _Times(msgspec.Struct):
    """The sums of the Outcomes of one decision."""

    latency: _Observations = msgspec.field(default_factory=_Observations)
    first_byte: _Observations = msgspec.field(default_factory=_Observations)
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Recent(msgspec.Struct):
    """The counts that are not in the registry yet."""

    requests: dict[tuple[str, str, str, str], int] = {}
    times: dict[tuple[str, bool], _Times] = {}

    def times_of(self, decision: str, is_streamed: bool) -> _Times:
        key = (decision, is_streamed)
        times = self.times.get(key)
        if times is None:
            times = self.times[key] = _Times()
        return times


class _Histogram(Histogram):
    """A histogram that takes many observations at once."""

    def add_observations(self, observations: _Observations) -> None:
        """Add to the sum and to each bucket alone: the library makes them cumulative when it shows them."""
        self._sum.inc(observations.total)
        for bucket, count in zip(self._buckets, observations.counts, strict=True):
            if count:
                bucket.inc(count)


class _ProbeMetric:
    """A probe with the metric that shows it."""

    def __init__(self, probe: Probe, registry: CollectorRegistry) -> None:
        self._probe = probe
        self._last = 0.0
        name = f"stepdown_{probe.name}"
        self._metric: Counter | Gauge
        if probe.is_total:
            self._metric = Counter(name, probe.help, registry=registry)
        else:
            self._metric = Gauge(name, probe.help, registry=registry, multiprocess_mode="livesum")

    def read_into_metric(self) -> None:
        value = self._probe.read()
        if isinstance(self._metric, Gauge):
            self._metric.set(value)
        else:
            self._metric.inc(max(0.0, value - self._last))
            self._last = value


def _forget_ended_processes(folder: Path) -> None:
    """Leave out the gauges of processes that have ended: nothing waits in them any more."""
    for file in folder.glob("gauge_live*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
