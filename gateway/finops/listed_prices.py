"""A program that prints the list prices of models from the offline data of `genai-prices`.

Reads a JSON array of model names on stdin, writes a JSON array of [input, output, cached
input] in USD per million tokens, or null for a model that is not listed. A program of its own,
because importing those data costs 0.2 s and 13-31 MB (by what is loaded already), which no
gateway worker needs to keep.
"""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from typing import Any


def main() -> None:
    """Answer the question on stdin."""
    sys.stdout.write(json.dumps([_listed(model) for model in json.load(sys.stdin)]))


def _listed(model: str) -> list[float] | None:
    """Return the prices of `model`; a prefix such as "openai/" may say who sells it."""
    from genai_prices import Usage, calc_price

    provider, _, name = model.rpartition("/")
    # By its name alone no embedding model is known to be OpenAI's.
    for reference, seller in ((model, None), (name, provider or None), (name, None), (name, "openai")):
        try:
            found = calc_price(Usage(input_tokens=1), model_ref=reference, provider_id=seller).model_price
        except LookupError:
            continue
        fresh, output, cached = (_base(found, f"{kind}_mtok") for kind in ("input", "output", "cache_read"))
        if fresh is not None:
            # Embeddings have input only.
            return [fresh, output or 0.0, fresh if cached is None else cached]
    return None


def _base(prices: Any, name: str) -> float | None:
    """Return a price, for tiers by context length that of the shortest."""
    price = getattr(prices, name)
    if price is None or isinstance(price, Decimal):
        return None if price is None else float(price)
    return float(price.base)


if __name__ == "__main__":
    main()
