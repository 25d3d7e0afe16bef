"""The true bill: prices written down by hand, and the teacher's own arithmetic."""

from __future__ import annotations

from typing import Any

# USD per million tokens (OpenAI's pricing page, November 2026): input, cached input, output. Typed in by
# hand, so that a mistake in our price list shows.
PRICES: dict[tuple[str, str], tuple[float, float, float]] = {
    ("gpt-4o", ""): (2.5, 1.25, 10.0),
    ("gpt-4o", "priority"): (4.25, 2.125, 17.0),
    ("gpt-4o", "batch"): (1.25, 0.625, 5.0),
    ("gpt-4o-mini", ""): (0.15, 0.075, 0.6),
    ("gpt-4o-mini", "priority"): (0.25, 0.125, 1.0),
    ("gpt-4o-mini", "batch"): (0.075, 0.0375, 0.3),
    ("gpt-5", ""): (1.25, 0.125, 10.0),
    ("gpt-5", "flex"): (0.625, 0.0625, 5.0),
    ("gpt-5", "priority"): (2.5, 0.25, 20.0),
    ("gpt-5", "batch"): (0.625, 0.0625, 5.0),
    ("gpt-5.4", ""): (2.5, 0.25, 15.0),
    ("gpt-5.4 long", ""): (5.0, 0.5, 22.5),
    ("gpt-realtime", ""): (4.0, 0.4, 16.0),
    ("text-embedding-3-small", ""): (0.02, 0.02, 0.0),
    ("whisper-1", ""): (0.0, 0.0, 0.0),
}
AUDIO = {"gpt-realtime": (32.0, 64.0)}
LONG_PROMPT = 272_000
WEB_SEARCH_USD, CONTAINER_USD, WHISPER_USD_PER_MINUTE = 0.01, 0.03, 0.006


def true_cost(play: dict[str, Any], completion: int) -> float:
    """Return the dollars of one answer of `completion` tokens, as `play` asks the teacher to give it."""
    model, prompt = play["family"], play["prompt"]
    name = f"{model} long" if model == "gpt-5.4" and prompt > LONG_PROMPT else model
    fresh, cached, output = PRICES[name, play.get("tier", "")]
    audio_in, audio_out = play.get("audio", (0, 0))
    dollars = (prompt - play["cached"] - audio_in) * fresh + play["cached"] * cached
    dollars += (completion - audio_out) * output
    if audio_in or audio_out:
        dollars += audio_in * AUDIO[model][0] + audio_out * AUDIO[model][1]
    fees = play.get("searches", 0) * WEB_SEARCH_USD + play.get("containers", 0) * CONTAINER_USD
    minutes = float(play.get("seconds", 0)) / 60
    return float(dollars / 1e6 + fees + minutes * WHISPER_USD_PER_MINUTE)
