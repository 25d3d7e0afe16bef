"""Prices: the operator's first, then the public ones, never from the network."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from gateway.core import Usage
from gateway.finops.prices import Price, PriceTable

LIST_PRICE = Price(input_usd_per_mtok=2.5, output_usd_per_mtok=10.0, cached_usd_per_mtok=1.25)


def test_a_known_model_has_its_list_price() -> None:
    assert PriceTable().price("gpt-4o") == LIST_PRICE


def test_a_prefix_which_names_the_seller_is_understood() -> None:
    """Gateways and aggregators name models "openai/gpt-4o"."""
    assert PriceTable().price("openai/gpt-4o") == LIST_PRICE


def test_embeddings_cost_what_goes_in() -> None:
    price = PriceTable().price("text-embedding-3-small")

    assert price is not None
    assert (price.input_usd_per_mtok, price.output_usd_per_mtok) == (0.02, 0.0)


def test_the_operators_price_wins() -> None:
    own = Price(input_usd_per_mtok=1.0, output_usd_per_mtok=2.0)

    assert PriceTable({"gpt-4o": own}).price("gpt-4o") == own


@pytest.mark.parametrize("model", ["no-such-model", "", "/", "--help", "g" * 100_000, 'quo"te\n'])
def test_an_unknown_model_has_no_price_and_is_counted_once(model: str) -> None:
    prices = PriceTable()

    assert [prices.price(model), prices.price(model)] == [None, None]
    assert prices.unknown == 1


def test_looking_up_a_price_loads_nothing_into_this_process() -> None:
    """The price data cost 13-31 MB; a worker does not keep them."""
    program = """
import sys
from gateway.finops.prices import PriceTable
assert PriceTable().price("gpt-4o")
assert not [name for name in sys.modules if name.startswith(("genai_prices", "pydantic", "httpx"))]
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_cached_tokens_cost_their_own_price() -> None:
    usage = Usage(prompt_tokens=1_000_000, completion_tokens=100_000, cached_tokens=400_000)

    assert LIST_PRICE.cost(usage) == pytest.approx(0.6 * 2.5 + 0.4 * 1.25 + 0.1 * 10)


def test_without_a_cached_price_cached_tokens_cost_as_others() -> None:
    price = Price(input_usd_per_mtok=2.0, output_usd_per_mtok=0.0)

    assert price.cost(Usage(1_000_000, 0, cached_tokens=900_000)) == pytest.approx(2.0)


def test_a_misspelt_price_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="inputt"):
        msgspec.convert({"inputt": 1.0, "output": 1.0}, Price)
