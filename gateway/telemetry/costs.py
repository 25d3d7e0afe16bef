"""Dollars as metrics: what was spent and saved, for whom, and what is left of the budgets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

import msgspec
from prometheus_client import CollectorRegistry, Counter, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.core import Cost, Outcome
from gateway.telemetry.capped_label import CappedLabel

# A client can name any model, and each credential may be a tenant: later values are called "other".
MAX_MODELS = 100
MAX_TENANTS = 100
MAX_POLICIES = 100
MAX_BUDGETS = 500
_LABELS = ("policy", "tenant", "model", "decision")


class BudgetLeft(msgspec.Struct, frozen=True):
    """What is left of a budget: neither spent nor set aside."""

    name: str
    period: str
    limit_usd: float
    left_usd: float


ListBudgets = Callable[[], Iterable[BudgetLeft]]


class CostCounter:
    """Counts dollars in memory; `update_registry` moves them to the registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._cost = Counter(
            "stepdown_cost_usd", "Dollars paid to the teacher, by who asked.", _LABELS, registry=registry
        )
        self._worth = Counter(
            "stepdown_counterfactual_usd",
            "Dollars that the teacher alone would have cost, net of its prompt cache.",
            _LABELS,
            registry=registry,
        )
        self._models = CappedLabel(MAX_MODELS)
        self._tenants = CappedLabel(MAX_TENANTS)
        self._policies = CappedLabel(MAX_POLICIES)
        self._lock = threading.Lock()
        self._recent: dict[tuple[str, str, str, str], list[float]] = {}

    def count_cost(self, outcome: Outcome, cost: Cost) -> None:
        """Count one request."""
        labels = (
            self._policies.cap_label(outcome.plan.policy),
            self._tenants.cap_label(outcome.request.tenant),
            self._models.cap_label(cost.model),
            outcome.decision,
        )
        with self._lock:
            sums = self._recent.get(labels)
            if sums is None:
                sums = self._recent[labels] = [0.0, 0.0]
            sums[0] += cost.usd
            sums[1] += cost.counterfactual_usd

    def update_registry(self) -> None:
        """Add what was counted."""
        with self._lock:
            recent, self._recent = self._recent, {}
        for labels, (usd, worth) in recent.items():
            self._cost.labels(*labels).inc(usd)
            self._worth.labels(*labels).inc(worth)


class BudgetCollector(Collector):
    """Reads what is left of the budgets at each collection; it is the same in every worker."""

    def __init__(self, list_budgets: ListBudgets) -> None:
        self._list_budgets = list_budgets

    def collect(self) -> Iterator[Metric]:
        """Yield what is left and the limits."""
        names = ("budget", "period")
        left = GaugeMetricFamily("stepdown_budget_left_usd", "Dollars left of a budget.", labels=names)
        limit = GaugeMetricFamily("stepdown_budget_limit_usd", "Dollars of a budget.", labels=names)
        for _, budget in zip(range(MAX_BUDGETS), self._list_budgets(), strict=False):
            left.add_metric((budget.name, budget.period), budget.left_usd)
            limit.add_metric((budget.name, budget.period), budget.limit_usd)
        yield left
        yield limit

    def describe(self) -> Iterable[Metric]:
        """Describe nothing, so that registering does not read the budgets."""
        return []
