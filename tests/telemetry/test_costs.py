"""Dollars as metrics: by whom and by model, within bounds, and what is left of budgets."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from gateway.telemetry.costs import BudgetCollector, BudgetLeft, CostCounter


def lines(registry: CollectorRegistry) -> set[str]:
    return set(generate_latest(registry).decode().splitlines())


def test_dollars_are_counted_by_policy_tenant_model_and_decision() -> None:
    registry = CollectorRegistry()
    counter = CostCounter(registry)
    for _ in range(2):
        payer = ("default", "acme", "gpt-4o-2024-08-06", "local")
        counter.add_costs(payer, usd=0.5, counterfactual_usd=2.0)

    labels = '{decision="local",model="gpt-4o-2024-08-06",policy="default",tenant="acme"}'
    assert f"stepdown_cost_usd_total{labels} 1.0" in lines(registry)
    assert f"stepdown_counterfactual_usd_total{labels} 4.0" in lines(registry)


def test_invented_models_and_tenants_are_one_series_beyond_a_bound() -> None:
    registry = CollectorRegistry()
    counter = CostCounter(registry)
    for number in range(500):
        payer = ("default", f"t{number}", f"invented-{number}", "escalated")
        counter.add_costs(payer, usd=1.0, counterfactual_usd=1.0)

    series = [line for line in lines(registry) if line.startswith("stepdown_cost_usd_total")]
    assert len(series) == 101
    assert any('model="other"' in line and line.endswith(" 400.0") for line in series)


def test_what_is_left_of_a_budget_is_read_when_it_is_asked_for() -> None:
    registry = CollectorRegistry()
    registry.register(BudgetCollector(lambda: [BudgetLeft("capped", "day", 10.0, 2.5)]))

    assert 'stepdown_budget_left_usd{budget="capped",period="day"} 2.5' in lines(registry)
    assert 'stepdown_budget_limit_usd{budget="capped",period="day"} 10.0' in lines(registry)
