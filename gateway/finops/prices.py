"""What a model costs per token: the operator's own price, else the public list price."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import msgspec

from gateway.config.bounds import NonNegativeFloat
from gateway.core import Usage

logger = logging.getLogger(__name__)

# A cold disk and no compiled files: 5 s. It is asked once a model and only off the event loop.
LOOKUP_TIMEOUT_S = 60.0
# A client can name any model; only the first ones get a lookup of their own.
MAX_MODELS = 500


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """List price in USD per million tokens; without `cached`, cached input costs as any other."""

    input_usd_per_mtok: NonNegativeFloat = msgspec.field(name="input")
    output_usd_per_mtok: NonNegativeFloat = msgspec.field(name="output")
    cached_usd_per_mtok: NonNegativeFloat | None = msgspec.field(name="cached", default=None)

    def cost(self, usage: Usage) -> float:
        """Return what `usage` costs in USD."""
        input_price = self.input_usd_per_mtok
        cached_price = input_price if self.cached_usd_per_mtok is None else self.cached_usd_per_mtok
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        fresh = usage.prompt_tokens - cached
        microdollars = fresh * input_price + cached * cached_price
        return (microdollars + usage.completion_tokens * self.output_usd_per_mtok) / 1e6


class PriceTable:
    """Prices by model name: `overrides` first, then `genai-prices`' offline data. No network.

    `unknown` counts the models that have no price.
    """

    def __init__(self, overrides: Mapping[str, Price] | None = None) -> None:
        self.unknown = 0
        self._known: dict[str, Price | None] = dict(overrides or {})
        self._asking = threading.Lock()

    def price(self, model: str) -> Price | None:
        """Return the price of `model`, None if it is not listed. Callable from any thread.

        The first question about a model blocks for about half a second; later ones cost
        less than a microsecond.
        """
        if model in self._known:
            return self._known[model]
        with self._asking:
            if model not in self._known and len(self._known) < MAX_MODELS:
                self._known[model] = _look_up(model)
                self.unknown += self._known[model] is None
            return self._known.get(model)


def _look_up(model: str) -> Price | None:
    program = Path(__file__).with_name("listed_prices.py")
    try:
        # The model comes from a client: it goes by stdin, never as an argument. -P: the folder
        # of the program is no place to import from.
        found = subprocess.run(
            [sys.executable, "-P", str(program)],
            input=msgspec.json.encode([model]),
            capture_output=True,
            check=True,
            timeout=LOOKUP_TIMEOUT_S,
        )
        (prices,) = msgspec.json.decode(found.stdout, type=list[tuple[float, float, float] | None])
    except (OSError, subprocess.SubprocessError, msgspec.MsgspecError, ValueError) as fault:
        logger.warning("the list price of a model could not be looked up: %s", type(fault).__name__)
        return None
    if prices is None:
        return None
    return Price(input_usd_per_mtok=prices[0], output_usd_per_mtok=prices[1], cached_usd_per_mtok=prices[2])
