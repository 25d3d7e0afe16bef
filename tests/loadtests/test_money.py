"""The load test of money has requests of every kind, and its own arithmetic agrees with itself."""

from __future__ import annotations

import json

from loadtests.money.bill import true_cost
from loadtests.money.traffic import draw_requests, encode_body


def test_the_same_seed_draws_the_same_requests_of_every_kind() -> None:
    asks = draw_requests(3000, 1, 3)

    assert asks == draw_requests(3000, 1, 3) != draw_requests(3000, 2, 3)
    assert len({ask.play["kind"] for ask in asks}) == 18
    assert json.loads(json.loads(encode_body(asks[0]))["metadata"]["play"]) == asks[0].play


def test_the_bill_is_what_the_price_page_says() -> None:
    play = {"family": "gpt-4o", "prompt": 1000, "cached": 400, "tier": "", "searches": 1}

    assert true_cost(play, 100) == (600 * 2.5 + 400 * 1.25 + 100 * 10.0) / 1e6 + 0.01
