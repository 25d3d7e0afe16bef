"""Dollars as metrics: what was spent and saved, for whom, and what is left of the budgets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec
from prometheus_client import CollectorRegistry, Counter, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

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
    """Adds dollars to the registry, under a bounded number of names."""

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

    def add_costs(self, payer: tuple[str, str, str, str], *, usd: float, counterfactual_usd: float) -> None:
        """Add the sums of requests with the same policy, tenant, model and decision."""
        policy, tenant, model, decision = payer
        labels = (
            self._policies.cap_label(policy),
            self._tenants.cap_label(tenant),
            self._models.cap_label(model),
            decision,
        )
        self._cost.labels(*labels).inc(usd)
        self._worth.labels(*labels).inc(counterfactual_usd)


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
