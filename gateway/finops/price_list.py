"""The public list prices: which model a name means, and what it costs at a time in a tier."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, time
from typing import Any

import msgspec

from gateway.finops.unit_prices import Rate, UnitPrices

# OpenAI's batches cost half, also of models without a listed batch price (pricing page, November 2026).
UNLISTED_BATCH_SHARE = 0.5
# A date without dashes, as some gateways write it: gpt-5.2-20251211.
_COMPACT_DATE = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")
# Longer names are no models', and matching costs time.
MOST_CHARACTERS = 200
_OUR_SELLER = "openai"

Clause = list[Any]
"""How a name is recognized: ["equals", name] and its like, or ["or", [clause, ...]]."""


class _Dated(msgspec.Struct, frozen=True):
    """Prices from a date on (`["date", ...]`), between two times of day (`["time", ...]`), or always."""

    units: dict[str, Rate]
    when: list[str] | None = None
    tier: str = ""

    def is_in_force(self, at: datetime) -> bool:
        if self.when is None:
            return True
        if self.when[0] == "date":
            return at.date().isoformat() >= self.when[1]
        begin, end = (time.fromisoformat(text) for text in self.when[1:])
        now = at.timetz().replace(tzinfo=begin.tzinfo)
        return begin <= now < end if begin <= end else now >= begin or now < end


class ListedModel(msgspec.Struct, frozen=True):
    """A model with its prices, later ones before earlier ones, and those of other tiers."""

    id: str
    match: Clause
    prices: list[_Dated]
    variants: list[_Dated] = []

    def resolve(self, tier: str, at: float, *, seller: str) -> UnitPrices:
        """Return what it costs in `tier` at a unix time; what the tier does not change costs as always."""
        now = datetime.fromtimestamp(at, UTC)
        standard = next((each for each in reversed(self.prices) if each.is_in_force(now)), self.prices[0])
        changed: dict[str, Rate] = {}
        is_listed = False
        for variant in self.variants:
            if variant.tier == tier and variant.is_in_force(now):
                is_listed = True
                changed = variant.units | changed
        share = UNLISTED_BATCH_SHARE if tier == "batch" and not is_listed and seller == _OUR_SELLER else 1.0
        return UnitPrices(standard.units | changed, share)


class _Seller(msgspec.Struct, frozen=True):
    id: str
    models: list[ListedModel]
    names: Clause | None = None
    models_are: Clause | None = None
    falls_back_to: list[str] = []


class Listed(msgspec.Struct, frozen=True):
    """A model of one seller."""

    model: ListedModel
    seller: str

    def resolve(self, tier: str, at: float) -> UnitPrices:
        """Return what it costs in `tier` at a unix time."""
        return self.model.resolve(tier, at, seller=self.seller)


class PriceList:
    """The list, as `list_prices` prints it. Looking a name up costs up to 0.3 ms and keeps nothing."""

    def __init__(self, text: bytes) -> None:
        self._sellers = msgspec.json.decode(text, type=list[_Seller])

    def find(self, name: str) -> Listed | None:
        """Return the model that `name` means; a prefix such as "openai/" may say who sells it."""
        if len(name) > MOST_CHARACTERS:
            return None
        full = name.lower()
        prefix, _, short = full.rpartition("/")
        # By its name alone no embedding model is known to be OpenAI's.
        questions = ((full, None), (short, prefix or None), (short, None), (short, _OUR_SELLER))
        for reference, seller_name in dict.fromkeys(questions):
            seller = self._seller_of(reference, seller_name)
            if seller is not None and (found := self._model_of(seller, reference)) is not None:
                return found
        return None

    def dearest(self, at: float) -> UnitPrices:
        """Return the prices of the dearest model that writes text, without regard to its cache."""
        openai = next((seller for seller in self._sellers if seller.id == _OUR_SELLER), self._sellers[0])
        all_prices = [model.resolve("", at, seller=openai.id) for model in openai.models if model.prices]
        chat = [prices for prices in all_prices if {"input", "output"} <= prices.rates.keys()]
        return max(chat, key=lambda prices: prices.rates["input"].usd + prices.rates["output"].usd)

    def _seller_of(self, reference: str, name: str | None) -> _Seller | None:
        if name is not None:
            named = (each for each in self._sellers if each.id == name)
            alike = (each for each in self._sellers if each.names and _matches(each.names, name))
            return next(named, None) or next(alike, None)
        if not reference:
            return None
        return next(
            (each for each in self._sellers if each.models_are and _matches(each.models_are, reference)), None
        )

    def _model_of(self, seller: _Seller, reference: str) -> Listed | None:
        dashed = _COMPACT_DATE.sub(r"-\1-\2-\3", reference)
        others = [each for each in self._sellers if each.id in seller.falls_back_to]
        others.sort(key=lambda each: seller.falls_back_to.index(each.id))
        for name in dict.fromkeys((reference, dashed)):
            for each in (seller, *others):
                for model in each.models:
                    if _matches(model.match, name):
                        return Listed(model, seller.id) if model.prices else None
        return None


_TESTS: dict[str, Callable[[str, str], bool]] = {
    "equals": str.__eq__,
    "starts": str.startswith,
    "ends": str.endswith,
    "contains": str.__contains__,
}


def _matches(clause: Clause, name: str) -> bool:
    kind, wanted = clause
    match kind:
        case "or":
            return any(_matches(each, name) for each in wanted)
        case "and":
            return all(_matches(each, name) for each in wanted)
        case "regex":
            return re.search(wanted, name) is not None
    return _TESTS[kind](name, wanted.lower())
