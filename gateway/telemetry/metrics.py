"""Prometheus metrics of one worker, or of all workers of a machine together.

With PROMETHEUS_MULTIPROC_DIR in the environment at start every process writes its numbers
into that folder and any of them renders the sum; the folder must be empty at start.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from gateway.core import Outcome, Reading

# Callers name tasks by their templates: without a bound one client could fill the memory.
MAX_ROUTES = 200
MAX_REASONS = 100
OTHER = "other"
# A local answer takes milliseconds, a teacher's up to minutes.
_BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Probe(msgspec.Struct, frozen=True):
    """A number which somebody else keeps, such as dropped rows. `read` must not block.

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
    """An observer which counts Outcomes, and renders what was counted."""

    def __init__(self, probes: Sequence[Probe] = ()) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "stepdown_requests",
            "Requests by who answered and why.",
            ("decision", "reason", "route", "status"),
            registry=self._registry,
        )
        self._latency = self._histogram("stepdown_latency_seconds", "First byte in to last byte out.")
        self._first_byte = self._histogram("stepdown_first_byte_seconds", "First byte in to first byte out.")
        self._tokens = Counter(
            "stepdown_tokens", "Tokens by who answered.", ("decision", "kind"), registry=self._registry
        )
        self._routes = _Capped(MAX_ROUTES)
        self._reasons = _Capped(MAX_REASONS)
        self._probes = [_Sampled(probe, self._registry) for probe in probes]

    def __call__(self, outcome: Outcome, reading: Reading) -> None:
        """Count one Outcome."""
        decision = outcome.decision
        route = self._routes.label(outcome.route.task if outcome.route else "none")
        reason = self._reasons.label(outcome.reason)
        self._requests.labels(decision, reason, route, str(outcome.status)).inc()
        self._latency.labels(decision).observe(outcome.latency_ms / 1000)
        self._first_byte.labels(decision).observe(outcome.first_byte_ms / 1000)
        if reading.usage is not None:
            self._tokens.labels(decision, "prompt").inc(max(0, reading.usage.prompt_tokens))
            self._tokens.labels(decision, "completion").inc(max(0, reading.usage.completion_tokens))

    def sample(self) -> None:
        """Read every probe; call it from one thread, a few times a second."""
        for probe in self._probes:
            probe.sample()

    def render(self) -> bytes:
        """Return everything in Prometheus' text format, of all processes where they share a folder."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        return generate_latest(shared)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(name, text, ("decision",), registry=self._registry, buckets=_BUCKETS_S)


class _Capped:
    """The first `size` values of a label; later ones are all called "other"."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: set[str] = set()

    def label(self, value: str) -> str:
        if value in self._known:
            return value
        if len(self._known) >= self._size:
            return OTHER
        self._known.add(value)
        return value


class _Sampled:
    """A probe with the metric which shows it."""

    def __init__(self, probe: Probe, registry: CollectorRegistry) -> None:
        self._probe = probe
        self._last = 0.0
        name = f"stepdown_{probe.name}"
        self._metric: Counter | Gauge
        if probe.is_total:
            self._metric = Counter(name, probe.help, registry=registry)
        else:
            self._metric = Gauge(name, probe.help, registry=registry, multiprocess_mode="livesum")

    def sample(self) -> None:
        value = self._probe.read()
        if isinstance(self._metric, Gauge):
            self._metric.set(value)
        else:
            self._metric.inc(max(0.0, value - self._last))
            self._last = value
