"""Prometheus metrics of one worker, or of all workers of a machine together."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest

from gateway.core import Outcome, Reading
from gateway.telemetry.all_workers import AllWorkers
from gateway.telemetry.capped_label import CappedLabel
from gateway.telemetry.certificates import Certificates, ListCertifications
from gateway.telemetry.costs import BudgetCollector, CostCounter, ListBudgets
from gateway.telemetry.refusals import Refusals
from gateway.telemetry.shared_sums import SharedSums
from gateway.telemetry.teachers import TeacherHealth, TeacherMetrics

# A client can send any number of templates, each a route: without a bound it could fill the memory.
MAX_ROUTES = 200
MAX_REASONS = 100
# A local answer takes milliseconds, a teacher's up to minutes.
_BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


_Names = tuple[str, str, str, int, bool, str, str, str]


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

    Counting only adds to sums in memory; `update_registry` moves them to the registry, and shows them
    to the other workers. `list_certifications` returns the certificates in force. With `shared`, what
    is rendered are the sums over all workers.
    """

    def __init__(
        self,
        probes: Sequence[Probe] = (),
        list_certifications: ListCertifications = tuple,
        list_budgets: ListBudgets = tuple,
        shared: SharedSums | None = None,
        teachers: Sequence[TeacherHealth] = (),
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
        self._teachers = TeacherMetrics(self._registry, teachers)
        self._costs = CostCounter(self._registry)
        self._routes = CappedLabel(MAX_ROUTES)
        self._reasons = CappedLabel(MAX_REASONS)
        self._lock = threading.Lock()
        self._updating = threading.Lock()
        # By decision, reason, route, status, streamed, policy, tenant, model: whatever clients send. The few
        # values that are kept of each name are chosen at the next update.
        self._recent: dict[_Names, _Sums] = {}
        self._probes = [_ProbeMetric(probe, self._registry) for probe in probes]
        self._certificates = Certificates(list_certifications)
        self._budgets = BudgetCollector(list_budgets)
        self._shared = shared
        self._begun_at = time.time()

    def __call__(self, outcome: Outcome, reading: Reading) -> None:
        """Count one Outcome."""
        cost, route = reading.cost, outcome.route
        labels = (
            outcome.decision,
            outcome.reason,
            route.task if route else "none",
            outcome.status,
            outcome.request.is_streamed,
            outcome.plan.policy,
            outcome.request.tenant,
            cost.model if cost else "",
        )
        with self._lock:
            sums = self._recent.get(labels)
            if sums is None:
                sums = self._recent[labels] = _Sums()
            sums.add_request(outcome, reading)

    def update_registry(self) -> None:
        """Add what was counted, read every probe, and show the others; call it a few times per second."""
        with self._updating:
            as_of = time.monotonic()
            self._add_recent()
            self.refusals.update_registry()
            self._teachers.update_registry()
            for probe in self._probes:
                probe.read_into_metric()
            if self._shared:
                self._shared.publish(self._registry.collect(), as_of)

    def collect(self) -> Iterable[Metric]:
        """Return every family, summed over all workers where they share their sums; may block."""
        return self._combined_registry().collect()

    def render_text(self) -> bytes:
        """Return everything in Prometheus' text format, summed over all workers; may block."""
        return generate_latest(self._combined_registry())

    def counting_since(self) -> float:
        """Return when counting began, in unix seconds: here, or in the first of all workers."""
        # Workers come and go, their numbers stay: with a later beginning they would count twice.
        return self._shared.counting_since() if self._shared else self._begun_at

    def _combined_registry(self) -> CollectorRegistry:
        if self._shared:
            self.update_registry()
        else:
            self._add_recent()
            self.refusals.update_registry()
            self._teachers.update_registry()
        combined = CollectorRegistry()
        combined.register(AllWorkers(self._shared) if self._shared else self._registry)
        combined.register(self._certificates)
        combined.register(self._budgets)
        return combined

    def _add_recent(self) -> None:
        with self._lock:
            recent, self._recent = self._recent, {}
        for (decision, reason, route, status, is_streamed, policy, tenant, model), sums in recent.items():
            kept_reason, kept_route = self._reasons.cap_label(reason), self._routes.cap_label(route)
            self._requests.labels(decision, kept_reason, kept_route, str(status)).inc(sums.count)
            streamed = "true" if is_streamed else "false"
            self._latency.labels(decision, streamed).add_observations(sums.latency)
            self._first_byte.labels(decision, streamed).add_observations(sums.first_byte)
            self._tokens.labels(decision, "prompt").inc(sums.prompt_tokens)
            self._tokens.labels(decision, "completion").inc(sums.completion_tokens)
            if sums.is_priced:
                payer = (policy, tenant, model, decision)
                self._costs.add_costs(payer, usd=sums.usd, counterfactual_usd=sums.counterfactual_usd)

    def _histogram(self, name: str, text: str, *labels: str) -> _Histogram:
        return _Histogram(name, text, labels, registry=self._registry, buckets=_BUCKETS_S)


class _Observations(msgspec.Struct):
    """Observations as counts per bucket, the last without an upper bound, and their sum."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(_BUCKETS_S) + 1))
    total: float = 0.0

    def add_value(self, value: float) -> None:
        self.counts[bisect_left(_BUCKETS_S, value)] += 1
        self.total += value


class _Sums(msgspec.Struct):
    """The sums of Outcomes that have all their names in common."""

    count: int = 0
    latency: _Observations = msgspec.field(default_factory=_Observations)
    first_byte: _Observations = msgspec.field(default_factory=_Observations)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    is_priced: bool = False
    usd: float = 0.0
    counterfactual_usd: float = 0.0

    def add_request(self, outcome: Outcome, reading: Reading) -> None:
        usage, cost = reading.usage, reading.cost
        self.count += 1
        self.latency.add_value(outcome.latency_ms / 1000)
        if outcome.first_byte_ms:
            self.first_byte.add_value(outcome.first_byte_ms / 1000)
        if usage is not None and (cost is None or cost.is_billed):
            self.prompt_tokens += max(0, usage.prompt_tokens)
            self.completion_tokens += max(0, usage.completion_tokens)
        if cost is not None:
            self.is_priced = True
            self.usd += cost.usd
            self.counterfactual_usd += cost.counterfactual_usd


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
            self._metric = Gauge(name, probe.help, registry=registry)

    def read_into_metric(self) -> None:
        value = self._probe.read()
        if isinstance(self._metric, Gauge):
            self._metric.set(value)
        else:
            self._metric.inc(max(0.0, value - self._last))
            self._last = value
