"""Our sums equal those of genai-prices, whose data they are made from."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import genai_prices
import pytest

from gateway.core import Usage
from gateway.finops.prices import PriceTable
from gateway.finops.unit_prices import Rate, UnitPrices

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
MODELS = (
    "gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-2024-05-13", "gpt-4.1-mini",
    "gpt-5", "gpt-5-2025-08-07", "gpt-5.4", "gpt-5.4-pro",
    "gpt-5.5", "gpt-6-luna", "o3", "o1-pro",
    "o4-mini", "gpt-realtime", "gpt-realtime-mini", "gpt-4o-transcribe",
    "whisper-1", "gpt-image-1", "text-embedding-3-small", "ft:gpt-4o-mini-2024-07-18:o::1",
    "claude-sonnet-4-5", "gemini-2.5-pro", "gemini-2.5-flash", "grok-4",
    "mistral-large-latest", "o3-2025-04-16",
)  # fmt: skip
NAMES = {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "cached_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "reasoning_tokens": "output_reasoning_tokens",
    "audio_input_tokens": "input_audio_tokens",
    "audio_output_tokens": "output_audio_tokens",
    "cached_audio_tokens": "cache_audio_read_tokens",
    "image_input_tokens": "input_image_tokens",
    "image_output_tokens": "output_image_tokens",
    "cached_image_tokens": "cache_image_read_tokens",
    "web_searches": "web_searches",
    "file_searches": "storage_searches",
}


def draw_usage(dice: random.Random, *, is_text: bool) -> Usage:
    prompt = dice.choice(
        [dice.randrange(1, 3_000), dice.randrange(1, 500_000), 200_000, 200_001, 272_000, 272_001]
    )
    completion = dice.randrange(20_000)
    if is_text:
        cached = dice.randrange(prompt + 1) if dice.random() < 0.5 else 0
        return Usage(prompt, completion, cached, reasoning_tokens=dice.randrange(completion + 1))
    audio, image = dice.randrange(prompt // 3 + 1), dice.randrange(prompt // 3 + 1)
    cached_audio, cached_image = dice.randrange(audio + 1), dice.randrange(image + 1)
    rest = prompt - audio - image
    return Usage(
        prompt,
        completion,
        cached_audio + cached_image + dice.randrange(rest // 2 + 1),
        cache_write_tokens=dice.randrange(rest // 2 + 1),
        audio_input_tokens=audio,
        audio_output_tokens=dice.randrange(completion // 2 + 1),
        cached_audio_tokens=cached_audio,
        image_input_tokens=image,
        image_output_tokens=dice.randrange(completion // 2 + 1),
        cached_image_tokens=cached_image,
        audio_seconds=dice.choice([0.0, 61.5]),
        web_searches=dice.randrange(4),
        file_searches=dice.randrange(4),
    )


def their_cost(usage: Usage, model: str, tier: str) -> float:
    reported = {theirs: getattr(usage, ours) for ours, theirs in NAMES.items()}
    seconds = {"audio_seconds": usage.audio_seconds, "input_audio_seconds": usage.audio_seconds}
    context = {"processing": "batch"} if tier == "batch" else {"service_tier": tier}
    found = genai_prices.calc_price(
        genai_prices.Usage(**reported, **seconds),
        model,
        genai_request_timestamp=AT,
        price_context=context if tier else None,
        # By their names alone these are not known to be OpenAI's.
        provider_id="openai" if model.startswith(("text-embedding", "ft:")) else None,
    )
    return float(found.total_price)


def test_ten_thousand_usages_cost_what_genai_prices_says() -> None:
    """Text, audio, images, searches, caches, prompts around every length tier, in every service tier.

    Left out are batches of models whose batch price is not listed: ours cost half, as OpenAI says.
    """
    prices = PriceTable()
    dice = random.Random(11)
    compared = set()
    for _ in range(10_000):
        model, tier = dice.choice(MODELS), dice.choice(["", "default", "flex", "priority", "batch"])
        usage = draw_usage(dice, is_text=dice.random() < 0.5)
        try:
            theirs = their_cost(usage, model, tier)
        except ValueError:
            # They refuse parts that overlap without a price for the overlap.
            continue
        ours = prices.find(model, "", tier, AT.timestamp()).prices
        if tier == "batch" and ours.cost(usage) == pytest.approx(theirs / 2):
            continue
        assert ours.cost(usage) == pytest.approx(theirs, rel=1e-9), (model, tier, usage)
        compared.add((model, tier))
    assert len(compared) > 100


def test_a_part_without_a_price_costs_what_its_whole_does() -> None:
    prices = UnitPrices({"input": Rate(2.0), "output": Rate(8.0)})
    usage = Usage(1_000_000, 1_000_000, 400_000, reasoning_tokens=500_000, audio_input_tokens=300_000)

    assert prices.cost(usage) == pytest.approx(10.0)


def test_more_parts_than_the_whole_cost_no_more_than_it() -> None:
    """A broken report must not be refused, nor make a request cheaper than nothing."""
    prices = UnitPrices(
        {"input": Rate(2.0), "output": Rate(8.0), "cached": Rate(1.0), "audio_input": Rate(4.0)}
    )

    assert prices.cost(Usage(1_000_000, 0, 5_000_000)) == pytest.approx(1.0)
    assert prices.cost(Usage(1_000_000, 0, 600_000, audio_input_tokens=9_000_000)) == pytest.approx(0.6 + 1.6)


def test_each_container_costs_its_fee() -> None:
    assert UnitPrices({"input": Rate(2.0)}).cost(Usage(0, 0, containers=2)) == pytest.approx(0.06)
