"""How right the savings are when the teacher caches prompts."""

from __future__ import annotations

import random
from typing import Any

from gateway.core import Message, Request, Usage
from gateway.finops.tokens import TokenEstimator

PROMPT, CACHED, COMPLETION = 2_111, 1_920, 4
FRESH_USD, CACHED_USD, OUTPUT_USD = 2.5, 1.25, 10.0
REQUESTS = 5_000
LOCAL_SHARE = 0.8
CACHE_LIFETIME_S = 300.0


def measure_savings() -> dict[str, Any]:
    """Return the errors of the counterfactual: with a constant share, and with a cache that forgets.

    With a lifetime, local answers keep the teacher's cache colder than it would be without us: each
    escalation finds less in it, so the savings come out too high. The sign is printed.
    """
    text = "w" * (PROMPT * 4)
    constant = _run(text, lambda _: CACHED)
    seconds_between = 60.0
    last = {"ours": -1e9, "theirs": -1e9}

    def forgetting(now: float, whose: str) -> int:
        is_warm = now - last[whose] < CACHE_LIFETIME_S
        last[whose] = now
        return CACHED if is_warm else 0

    dice = random.Random(3)
    tokens, request = TokenEstimator(), _request(text)
    booked = true = now = 0.0
    for _ in range(REQUESTS):
        now += dice.expovariate(1 / seconds_between)
        alone = _cost(forgetting(now, "theirs"))
        if dice.random() < LOCAL_SHARE:
            booked += _cost(tokens.expect(request, COMPLETION * 4).usage.cached_tokens)
            true += alone
        else:
            tokens.learn(request, COMPLETION * 4, Usage(PROMPT, COMPLETION, forgetting(now, "ours")))
    return {
        "savings error, constant share": round(constant, 5),
        "savings error, cache of 5 min, 1 request/min": round(booked / true - 1, 4),
    }


def _run(text: str, cached_at: Any) -> float:
    dice = random.Random(2)
    tokens, request = TokenEstimator(), _request(text)
    booked = true = 0.0
    for number in range(REQUESTS):
        cached = cached_at(number)
        if number > 20 and dice.random() < LOCAL_SHARE:
            booked += _cost(tokens.expect(request, COMPLETION * 4).usage.cached_tokens)
            true += _cost(cached)
        else:
            tokens.learn(request, COMPLETION * 4, Usage(PROMPT, COMPLETION, cached))
    return booked / true - 1


def _cost(cached: int) -> float:
    return ((PROMPT - cached) * FRESH_USD + cached * CACHED_USD + COMPLETION * OUTPUT_USD) / 1e6


def _request(text: str) -> Request:
    facts: dict[str, Any] = {
        "id": "r",
        "caller": "k",
        "target": b"/",
        "headers": (),
        "body": b"",
        "received_at": 0.0,
    }
    message = Message("user", text)
    return Request(
        **facts,
        model="gpt-4o",
        messages=(message,),
        template="t",
        contract_hash="",
        template_text="",
        text=text,
    )
