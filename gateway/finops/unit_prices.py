"""What one model costs per unit, and the sum of a usage at these prices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from gateway.core import Usage

MTOK = 1e6
THOUSAND = 1e3
SECONDS_PER_HOUR = 3_600
# OpenAI's fee for a code interpreter container of 1 GB (pricing page, November 2026). No price list has it.
CONTAINER_USD = 0.03


class Rate(msgspec.Struct, frozen=True):
    """The dollars of one unit; above `steps[i][0]` prompt tokens, all of it costs `steps[i][1]`."""

    usd: float
    steps: tuple[tuple[int, float], ...] = ()

    def above(self, start: int) -> float:
        """Return the dollars where the prompt has more than `start` tokens."""
        reached = [usd for begin, usd in self.steps if begin <= start]
        return reached[-1] if reached else self.usd


class _Flat(msgspec.Struct, frozen=True):
    """Dollars per unit for one length of prompt; None is priced with what contains it."""

    input: float = 0.0
    output: float = 0.0
    cached: float | None = None
    cache_write: float | None = None
    reasoning: float | None = None
    audio_input: float | None = None
    audio_output: float | None = None
    cached_audio: float | None = None
    image_input: float | None = None
    image_output: float | None = None
    cached_image: float | None = None
    audio_hour: float = 0.0
    characters: float = 0.0
    web_search: float = 0.0
    file_search: float = 0.0
    request: float = 0.0
    container: float = CONTAINER_USD


class UnitPrices:
    """The prices of one model in one tier: tokens and characters per million, searches and requests per
    thousand, audio per hour. `share` scales what is counted in tokens.

    Parts that have no price of their own cost what their whole does, as in `genai-prices`.
    """

    def __init__(self, rates: Mapping[str, Rate], share: float = 1.0) -> None:
        self.rates = dict(rates)
        self._share = share
        starts = sorted({begin for rate in rates.values() for begin, _ in rate.steps}, reverse=True)
        self._above = [(start, self._flat(start)) for start in starts]
        self._base = self._flat(-1)

    def cost(self, usage: Usage) -> float:
        """Return what `usage` costs in USD."""
        prices = self._base
        if self._above:
            prices = next((flat for start, flat in self._above if usage.prompt_tokens > start), prices)
        tokens = _cost_text(prices, usage) if usage.is_text else _cost_all_tokens(prices, usage)
        dollars = tokens / MTOK * self._share + prices.request / THOUSAND
        return dollars if usage.is_text else dollars + _cost_of_fees(prices, usage)

    def _flat(self, start: int) -> _Flat:
        return _Flat(**{name: rate.above(start) for name, rate in self.rates.items()})


def _cost_text(prices: _Flat, usage: Usage) -> float:
    """Return millionths of dollars for text alone: this runs for every request."""
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    cached = min(usage.cached_tokens, prompt)
    cost = (prompt - cached) * prices.input + completion * prices.output
    cost += cached * (prices.input if prices.cached is None else prices.cached)
    if usage.cache_write_tokens and prices.cache_write is not None:
        cost += min(usage.cache_write_tokens, prompt - cached) * (prices.cache_write - prices.input)
    if usage.reasoning_tokens and prices.reasoning is not None:
        cost += min(usage.reasoning_tokens, completion) * (prices.reasoning - prices.output)
    return cost


def _cost_all_tokens(prices: _Flat, usage: Usage) -> float:
    """Return millionths of dollars: each part at its own price, the rest at that of the whole."""
    return _cost_of_parts(usage.prompt_tokens, prices.input, _prompt_parts(prices, usage)) + _cost_of_parts(
        usage.completion_tokens, prices.output, _completion_parts(prices, usage)
    )


def _cost_of_parts(whole: int, price: float, parts: Iterator[tuple[int, float | None]]) -> float:
    cost, rest = 0.0, whole
    for tokens, own in parts:
        if own is not None:
            taken = min(max(tokens, 0), rest)
            cost, rest = cost + taken * own, rest - taken
    return cost + rest * price


def _prompt_parts(prices: _Flat, usage: Usage) -> Iterator[tuple[int, float | None]]:
    cached_audio = usage.cached_audio_tokens if prices.cached_audio is not None else 0
    cached_image = usage.cached_image_tokens if prices.cached_image is not None else 0
    yield cached_audio, prices.cached_audio
    yield cached_image, prices.cached_image
    yield usage.cached_tokens - cached_audio - cached_image, prices.cached
    yield usage.cache_write_tokens, prices.cache_write
    yield usage.audio_input_tokens - cached_audio, prices.audio_input
    yield usage.image_input_tokens - cached_image, prices.image_input


def _completion_parts(prices: _Flat, usage: Usage) -> Iterator[tuple[int, float | None]]:
    yield usage.reasoning_tokens, prices.reasoning
    yield usage.audio_output_tokens, prices.audio_output
    yield usage.image_output_tokens, prices.image_output


def _cost_of_fees(prices: _Flat, usage: Usage) -> float:
    """Return dollars for what is not counted in tokens."""
    return (
        usage.audio_seconds / SECONDS_PER_HOUR * prices.audio_hour
        + usage.characters / MTOK * prices.characters
        + usage.web_searches / THOUSAND * prices.web_search
        + usage.file_searches / THOUSAND * prices.file_search
        + usage.containers * prices.container
    )
