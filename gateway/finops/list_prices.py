"""A program that prints the list prices of all models from the offline data of `genai-prices`.

Writes one JSON object in the words of `price_list`. A program of its own, run once for all models, because
importing those data costs 0.2 s and 13-31 MB (by what is loaded already), which no gateway worker needs to
keep. It looks nothing up: names never reach it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

# Unit of genai-prices -> our name of what it prices. What is missing here no answer reports.
_UNITS = {
    "input_mtok": "input",
    "cache_read_mtok": "cached",
    "cache_write_mtok": "cache_write",
    "input_audio_mtok": "audio_input",
    "cache_audio_read_mtok": "cached_audio",
    "input_image_mtok": "image_input",
    "cache_image_read_mtok": "cached_image",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "output_audio_mtok": "audio_output",
    "output_image_mtok": "image_output",
    "input_audio_hours": "audio_hour",
    "audio_hours": "audio_hour",
    "input_mchars": "characters",
    "web_searches_kcount": "web_search",
    "storage_searches_kcount": "file_search",
    "requests_kcount": "request",
}
_CLAUSES = {
    "starts_with": "starts",
    "ends_with": "ends",
    "contains": "contains",
    "regex": "regex",
    "equals": "equals",
}


def main() -> None:
    """Print the list."""
    from genai_prices.data import providers

    json.dump([_seller(provider) for provider in providers], sys.stdout)


def _seller(provider: Any) -> dict[str, Any]:
    return {
        "id": provider.id,
        "names": _clause(provider.provider_match),
        "models_are": _clause(provider.model_match),
        "falls_back_to": provider.fallback_model_providers or [],
        "models": [_model(model) for model in provider.models],
    }


def _model(model: Any) -> dict[str, Any]:
    prices = model.prices if isinstance(model.prices, list) else None
    dated = [(each.constraint, each.prices) for each in prices] if prices else [(None, model.prices)]
    return {
        "id": model.id,
        "match": _clause(model.match),
        "prices": [
            {"when": _constraint(when), "units": _price_units(units)} for when, units in dated if units
        ],
        "variants": [
            {"tier": tier, "when": _constraint(variant.constraint), "units": _price_units(variant.prices)}
            for variant in model.price_variants or ()
            if (tier := _tier(variant.when))
        ],
    }


def _tier(when: dict[str, str]) -> str:
    """Return the tier in OpenAI's words; empty for a variant that no answer of OpenAI's APIs tells of."""
    if set(when) == {"processing"}:
        return when["processing"]
    return when["service_tier"] if set(when) == {"service_tier"} else ""


def _price_units(prices: Any) -> dict[str, Any]:
    found = {}
    for unit, name in _UNITS.items():
        price = vars(prices).get(unit)
        if price is not None:
            steps = getattr(price, "tiers", ())
            found[name] = {
                "usd": float(getattr(price, "base", price)),
                "steps": [[step.start, float(step.price)] for step in steps],
            }
    return found


def _constraint(when: Any) -> list[str] | None:
    if when is None:
        return None
    if hasattr(when, "start_date"):
        return ["date", when.start_date.isoformat()]
    return ["time", when.start_time.isoformat(), when.end_time.isoformat()]


def _clause(clause: Any) -> list[Any] | None:
    if clause is None:
        return None
    for name in ("or_", "and_"):
        if hasattr(clause, name):
            return [name.strip("_"), [_clause(each) for each in getattr(clause, name)]]
    for name, ours in _CLAUSES.items():
        if hasattr(clause, name):
            return [ours, getattr(clause, name)]
    raise ValueError(f"genai-prices has a new kind of clause: {clause!r}")


if __name__ == "__main__":
    main()
