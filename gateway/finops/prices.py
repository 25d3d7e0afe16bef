"""What an answer costs: the operator's price, else the public list's, else that of unknown models."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import msgspec

from gateway.config.bounds import NonNegativeFloat
from gateway.finops.price_list import PriceList
from gateway.finops.unit_prices import Rate, UnitPrices

logger = logging.getLogger(__name__)

# A cold disk and no compiled files: 5 s. It runs once per process and off the event loop.
LIST_TIMEOUT_S = 60.0
# Clients can name any model: the least that is forgotten with these is 4,096 look-ups of 0.3 ms.
MOST_ANSWERS = 4_096
ANY = "*"
"""In the place of a model's name, with a teacher's."""
# Some list prices change by the time of day: at full hours, or half an hour after them.
SLOT_S = 900
_EMPTY_LIST = b'[{"id": "openai", "models": []}]'
# While no list can be read: what the dearest listed model cost in November 2026.
_DEAREST = {"input": Rate(150.0), "output": Rate(600.0)}


class LongPrompt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prices where the prompt has more than `above` tokens, USD per million tokens."""

    above: int
    input: NonNegativeFloat
    output: NonNegativeFloat
    cached: NonNegativeFloat | None = None


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model's own price: USD per million tokens or characters, per thousand searches, per hour of audio,
    per container. What is left out costs what contains it, or nothing where nothing does."""

    input_usd_per_mtok: NonNegativeFloat = msgspec.field(name="input")
    output_usd_per_mtok: NonNegativeFloat = msgspec.field(name="output")
    cached_usd_per_mtok: NonNegativeFloat | None = msgspec.field(name="cached", default=None)
    cache_write: NonNegativeFloat | None = None
    reasoning: NonNegativeFloat | None = None
    audio_input: NonNegativeFloat | None = None
    audio_output: NonNegativeFloat | None = None
    cached_audio: NonNegativeFloat | None = None
    image_input: NonNegativeFloat | None = None
    image_output: NonNegativeFloat | None = None
    cached_image: NonNegativeFloat | None = None
    audio_hour: NonNegativeFloat | None = None
    characters: NonNegativeFloat | None = None
    web_search: NonNegativeFloat | None = None
    file_search: NonNegativeFloat | None = None
    container: NonNegativeFloat | None = None
    long: LongPrompt | None = None
    tiers: dict[str, Price] = {}
    """By service tier (`flex`, `priority`, `batch`): the prices there; other tiers cost as written above."""

    def unit_prices(self, tier: str = "") -> UnitPrices:
        """Return the prices in `tier`, ready to be multiplied."""
        price = self.tiers.get(tier, self)
        values = msgspec.to_builtins(price)
        rates = {name: Rate(usd) for name, usd in values.items() if isinstance(usd, float | int)}
        if price.long is not None:
            longer = msgspec.to_builtins(price.long)
            for name in ("input", "output", "cached"):
                if (usd := longer[name]) is not None:
                    base = rates.get(name, rates["input"])
                    rates[name] = Rate(base.usd, ((price.long.above, usd),))
        return UnitPrices(rates)


class FoundPrice(msgspec.Struct, frozen=True):
    """The price of an answer, and the model that it is listed for."""

    prices: UnitPrices
    model: str
    is_known: bool = True
    """False where neither the answering nor the requested model has a price."""


class PriceTable:
    """Prices by model: `own` first, then `genai-prices`' offline data, then `unknown`. No network.

    Of `own`, `gpt-4o@azure` is the price of that model at the teacher `azure`, `*@azure` of any model there.

    Without `unknown`, a model without a price costs what the dearest listed one does. Callable from any
    thread; the first question blocks for about half a second, unless `load` was called before.
    """

    def __init__(self, own: Mapping[str, Price] | None = None, unknown: Price | None = None) -> None:
        self._own = dict(own or {})
        self._unknown = unknown
        self._list: PriceList | None = None
        self._loading = threading.Lock()
        self._slot = 0
        self._known: dict[tuple[str, str, str, str], FoundPrice] = {}
        self._has_price: dict[str, bool] = {}

    @property
    def is_loaded(self) -> bool:
        """Whether no question blocks any more."""
        return self._list is not None

    def load(self) -> PriceList:
        """Return the public list; reads it at the first call, which blocks."""
        if self._list is None:
            with self._loading:
                if self._list is None:
                    self._list = _read_list()
        return self._list

    def find(
        self, answering: str, requested: str, tier: str, at: float, *, served_by: str = ""
    ) -> FoundPrice:
        """Return the price of an answer by `answering` (may be empty) to a request for `requested`.

        `tier` is the service tier that the answer names, or "batch"; `at` is in unix seconds; `served_by`
        is the teacher that gave it, empty where there is only one.
        """
        slot = int(at // SLOT_S)
        if slot != self._slot or len(self._known) >= MOST_ANSWERS:
            self._slot, self._known = slot, {}
        key = (answering, requested, tier, served_by)
        found = self._known.get(key)
        if found is None:
            names = [name for name in (answering, requested) if name]
            found = self._known[key] = self._find(names, tier, at, served_by)
        return found

    def has_price(self, model: str) -> bool:
        """Return whether `model` has a price of its own, the operator's or a listed one."""
        known = self._has_price.get(model)
        if known is None:
            if len(self._has_price) >= MOST_ANSWERS:
                self._has_price.clear()
            known = self._has_price[model] = model in self._own or self.load().find(model) is not None
        return known

    def unknown_price(self, at: float) -> UnitPrices:
        """Return the price of a model that is not listed."""
        if self._unknown is not None:
            return self._unknown.unit_prices()
        try:
            return self.load().dearest(at)
        except (ValueError, IndexError):
            return UnitPrices(_DEAREST)

    def _find(self, names: list[str], tier: str, at: float, served_by: str) -> FoundPrice:
        for name in (*names, ANY):
            if served_by and (there := self._own.get(f"{name}@{served_by}")):
                return FoundPrice(there.unit_prices(tier), names[0] if name == ANY and names else name)
        for name in names:
            if own := self._own.get(name):
                return FoundPrice(own.unit_prices(tier), name)
        for name in names:
            if listed := self.load().find(name):
                return FoundPrice(listed.resolve(tier, at), name)
        return FoundPrice(self.unknown_price(at), names[0] if names else "", is_known=False)


def _read_list() -> PriceList:
    program = Path(__file__).with_name("list_prices.py")
    try:
        # -P: the folder of the program is no place to import from.
        printed = subprocess.run(
            [sys.executable, "-P", str(program)], capture_output=True, check=True, timeout=LIST_TIMEOUT_S
        )
        return PriceList(printed.stdout)
    except (OSError, subprocess.SubprocessError, msgspec.MsgspecError) as exc:
        logger.error("the public price list cannot be read, models count as unknown: %s", type(exc).__name__)
        return PriceList(_EMPTY_LIST)
