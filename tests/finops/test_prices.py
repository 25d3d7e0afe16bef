"""Prices: the operator's first, then the public ones of the model that answered, never from the network."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import pytest

from gateway.core import Usage
from gateway.finops import prices as prices_module
from gateway.finops.prices import FoundPrice, Price, PriceTable

MILLION = Usage(1_000_000, 1_000_000)
NOON = 1_795_000_000.0
"""In November 2026."""


@pytest.fixture(scope="module")
def listed() -> PriceTable:
    return PriceTable()


def cost(
    prices: PriceTable, answering: str, requested: str = "", tier: str = "", usage: Usage = MILLION
) -> float:
    return prices.find(answering, requested, tier, NOON).prices.cost(usage)


@pytest.mark.parametrize("model", ["gpt-4o", "openai/gpt-4o", "gpt-4o-2024-08-06", "azure/gpt-4o", "GPT-4o"])
def test_a_model_is_known_by_its_snapshots_aliases_and_sellers(listed: PriceTable, model: str) -> None:
    assert cost(listed, model) == pytest.approx(12.5)


def test_embeddings_cost_what_goes_in(listed: PriceTable) -> None:
    assert cost(listed, "text-embedding-3-small") == pytest.approx(0.02)


def test_the_answering_model_decides(listed: PriceTable) -> None:
    """A deployment, an alias or a router names anything; the answer says what was paid for."""
    found = listed.find("gpt-4o-2024-08-06", "my-prod-deployment", "", NOON)

    assert (found.model, found.is_known, found.prices.cost(MILLION)) == ("gpt-4o-2024-08-06", True, 12.5)


def test_an_answer_by_an_unknown_name_costs_what_was_asked_for(listed: PriceTable) -> None:
    assert cost(listed, "fp_internal_7", "gpt-4o") == pytest.approx(12.5)


@pytest.mark.parametrize(
    ("tier", "usd"), [("", 11.25), ("default", 11.25), ("flex", 5.625), ("priority", 22.5)]
)
def test_the_tier_that_answered_decides(listed: PriceTable, tier: str, usd: float) -> None:
    assert cost(listed, "gpt-5", tier=tier) == pytest.approx(usd)


@pytest.mark.parametrize("model", ["gpt-5", "gpt-4o", "gpt-5.5-cyber"])
def test_a_batch_costs_half_even_if_no_list_says_so(listed: PriceTable, model: str) -> None:
    assert cost(listed, model, tier="batch") == pytest.approx(cost(listed, model) / 2)


def test_long_prompts_cost_their_own_price(listed: PriceTable) -> None:
    short, long = (cost(listed, "gpt-5.4", usage=Usage(tokens, 0)) / tokens for tokens in (272_000, 272_001))

    assert long == pytest.approx(2 * short)


@pytest.mark.parametrize("model", ["no-such-model", "", "/", "--help", "g" * 100_000, 'quo"te\n'])
def test_a_model_without_a_price_costs_what_the_dearest_listed_one_does(
    listed: PriceTable, model: str
) -> None:
    found = listed.find(model, "", "", NOON)

    assert (found.is_known, found.prices.cost(MILLION)) == (False, cost(listed, "o1-pro"))
    assert not listed.has_price(model)


def test_the_operator_may_say_what_unknown_models_cost() -> None:
    prices = PriceTable(unknown=Price(input_usd_per_mtok=1.0, output_usd_per_mtok=2.0))

    assert cost(prices, "no-such-model") == pytest.approx(3.0)


def test_the_operators_price_wins() -> None:
    """For the name that answered or the one that was asked for."""
    prices = PriceTable({"gpt-4o": Price(input_usd_per_mtok=1.0, output_usd_per_mtok=2.0)})

    assert [cost(prices, "gpt-4o"), cost(prices, "gpt-4o-2024-08-06", "gpt-4o")] == [3.0, 3.0]


@pytest.mark.parametrize(
    ("answering", "served_by", "usd"),
    [
        ("gpt-4o", "azure", 7.0),
        ("gpt-4o-2024-08-06", "azure", 7.0),
        ("gpt-4o", "openai", 3.0),
        ("llama-70b", "vllm", 0.0),
        ("gpt-4o", "", 3.0),
    ],
)
def test_a_teacher_may_have_prices_of_its_own(answering: str, served_by: str, usd: float) -> None:
    """The same model costs otherwise elsewhere, and a server of one's own nothing per token."""
    prices = PriceTable(
        {
            "gpt-4o": Price(input_usd_per_mtok=1.0, output_usd_per_mtok=2.0),
            "gpt-4o@azure": Price(input_usd_per_mtok=3.0, output_usd_per_mtok=4.0),
            "*@vllm": Price(input_usd_per_mtok=0.0, output_usd_per_mtok=0.0),
        }
    )

    found = prices.find(answering, "gpt-4o", "", NOON, served_by=served_by)

    assert found.prices.cost(MILLION) == usd
    assert found.is_known


def test_the_operators_price_may_have_tiers_and_lengths() -> None:
    text = """{"input": 1, "output": 2, "cached": 0.5, "container": 1, "tiers": {"flex": {"input": 0.5,
        "output": 1}}, "long": {"above": 1000, "input": 3, "output": 4}}"""
    prices = PriceTable({"mine": msgspec.json.decode(text, type=Price)})
    short = Usage(1000, 1000, 400)

    assert cost(prices, "mine", usage=short) == pytest.approx((600 + 400 * 0.5 + 2000) / 1e6)
    assert cost(prices, "mine", tier="flex", usage=short) == pytest.approx((500 + 1000) / 1e6)
    assert cost(prices, "mine", usage=Usage(1001, 1000)) == pytest.approx((3 * 1001 + 4000) / 1e6)
    assert cost(prices, "mine", usage=Usage(0, 0, containers=2)) == pytest.approx(2.0)


def test_invented_names_start_no_programs_and_push_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """500 of them once made gpt-4o free."""
    started: list[object] = []
    run = subprocess.run

    def note(*command: Any, **how: Any) -> object:
        started.append(command)
        return run(*command, **how)

    monkeypatch.setattr(subprocess, "run", note)
    monkeypatch.setattr(prices_module, "MOST_ANSWERS", 100)
    prices = PriceTable()
    for number in range(500):
        assert not prices.find("", f"invented-{number}", "", NOON).is_known

    assert cost(prices, "gpt-4o") == pytest.approx(12.5)
    assert len(started) == 1


def test_without_the_list_models_are_unknown_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> object:
        raise OSError("no memory")

    monkeypatch.setattr(subprocess, "run", fail)

    assert cost(PriceTable(), "gpt-4o") == pytest.approx(750.0)


def test_prices_that_change_by_date_or_hour_are_those_of_the_answer(listed: PriceTable) -> None:
    """o3 became cheaper on 10 June 2025."""
    before, after = (listed.find("o3", "", "", at).prices.cost(MILLION) for at in (1_749_000_000.0, NOON))

    assert (before, after) == (50.0, 10.0)


def test_looking_up_a_price_loads_nothing_into_this_process() -> None:
    """The price data cost 13-31 MB; a worker does not keep them."""
    program = """
import sys
from gateway.finops.prices import PriceTable
assert PriceTable().find("gpt-4o", "", "", 1.79e9).is_known
assert not [name for name in sys.modules if name.startswith(("genai_prices", "pydantic", "httpx"))]
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_misspelt_price_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="inputt"):
        msgspec.convert({"inputt": 1.0, "output": 1.0}, Price)


def test_a_price_is_found_once(listed: PriceTable) -> None:
    first: FoundPrice = listed.find("gpt-4o", "gpt-4o", "", NOON)

    assert listed.find("gpt-4o", "gpt-4o", "", NOON) is first
