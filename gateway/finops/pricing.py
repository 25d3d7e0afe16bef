"""The cost of one request: what it took, completed by estimates, at the price of who answered."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec

from gateway.core import NO_COST, Cost, Outcome, Reading, Request, Usage
from gateway.finops.prices import FoundPrice, PriceTable
from gateway.finops.tokens import TokenEstimator

logger = logging.getLogger(__name__)

# More tokens than this in one answer is nonsense of a broken teacher, not a bill.
MAX_TOKENS = 100_000_000
# A client that leaves before the answer begins has been heard: the teacher reads its prompt.
CLIENT_LEFT = 499
# Tiers at the usual price, and those that we cannot know the price of.
_USUAL_TIERS = frozenset({"default", "auto", "standard", "scale"})
_SPOKEN = "/v1/audio/speech"


class Pricer:
    """Prices requests and learns from what the teacher reports; for one thread."""

    def __init__(self, prices: PriceTable, tokens: TokenEstimator, teachers: Sequence[str] = ()) -> None:
        """`teachers` are the names of several, in the order of asking."""
        self._prices = prices
        self._teachers = teachers
        self._tokens = tokens

    def add_cost(self, outcome: Outcome, reading: Reading) -> Reading:
        """Return `reading` with the cost of its request; never raises."""
        try:
            cost = self.find_cost(outcome, reading)
        except Exception:
            # The edge of the observers' thread: a bug here must not silence them.
            logger.exception("%s: the request could not be priced", outcome.request.id)
            cost = NO_COST
        # The reading is new and still unseen: a copy would take six times as long.
        msgspec.structs.force_setattr(reading, "cost", cost)
        return reading

    def find_cost(self, outcome: Outcome, reading: Reading) -> Cost:
        """Return what the request of `outcome` cost, and would have cost."""
        if not is_billed(outcome, reading):
            return NO_COST
        if outcome.decision == "local":
            return self._cost_of_local(outcome, reading)
        usage = self._usage_of_teacher(outcome, reading)
        return self.cost_of(usage, reading, outcome.request.model, outcome.at, served_by=outcome.served_by)

    def cost_of(
        self,
        usage: Usage,
        reading: Reading,
        requested: str,
        at: float,
        *,
        tier: str = "",
        served_by: str = "",
    ) -> Cost:
        """Return the cost of an answer of `served_by`, of which `reading` tells model and tier."""
        tier = tier or _tier_of(reading)
        found = self._prices.find(reading.model, requested, tier, at, served_by=served_by)
        usd = found.prices.cost(usage)
        return Cost(
            usage=usage,
            model=found.model,
            tier=tier,
            usd=usd,
            counterfactual_usd=usd,
            is_known=found.is_known,
            is_named_known=self._is_named_known(found, requested),
        )

    def _cost_of_local(self, outcome: Outcome, reading: Reading) -> Cost:
        request = outcome.request
        expected = self._tokens.expect(request, reading.written_bytes)
        first = next(iter(outcome.plan.teachers or self._teachers), "")
        found = self._prices.find(expected.model, request.model, expected.tier, outcome.at, served_by=first)
        # A teacher asked beside the draft and broken off has read the prompt.
        read = msgspec.structs.replace(expected.usage, completion_tokens=0)
        wasted = found.prices.cost(read) if outcome.is_hedged else 0.0
        return Cost(
            usage=expected.usage,
            model=found.model,
            tier=expected.tier,
            usd=wasted,
            hedge_usd=wasted,
            counterfactual_usd=found.prices.cost(expected.usage),
            is_known=found.is_known,
            is_named_known=self._is_named_known(found, request.model),
        )

    def _is_named_known(self, found: FoundPrice, requested: str) -> bool:
        is_found = not requested or (found.model == requested and found.is_known)
        return is_found or self._prices.has_price(requested)

    def _usage_of_teacher(self, outcome: Outcome, reading: Reading) -> Usage:
        request, reported = outcome.request, reading.usage
        if reported is None or not _is_plausible(reported):
            return self._estimate(outcome, reading)
        if reported.is_estimated:
            reported = self._complete(reported, outcome, reading)
        if request.surface in ("chat", "responses") and outcome.is_complete:
            # What specialists never see (tools, images) is in the tokens but not in the text.
            is_plain = bool(reading.text) and not request.unsupported_reason
            written = reading.written_bytes if is_plain else 0
            self._tokens.learn(request, written, reported, reading.model, _tier_of(reading))
        return reported

    def _estimate(self, outcome: Outcome, reading: Reading) -> Usage:
        request = outcome.request
        if request.resource.path == _SPOKEN:
            return Usage(0, 0, is_estimated=True, characters=_count_spoken(request))
        if request.surface == "other" and not reading.written_bytes:
            # Nothing of it was read: to estimate would be to invent.
            return Usage(0, 0, is_estimated=True)
        usage = self._tokens.expect(request, reading.written_bytes).usage
        if not outcome.sound_tokens:
            return usage
        # The words of its transcript are billed besides.
        return msgspec.structs.replace(
            usage,
            completion_tokens=usage.completion_tokens + outcome.sound_tokens,
            audio_output_tokens=outcome.sound_tokens,
        )

    def _complete(self, reported: Usage, outcome: Outcome, reading: Reading) -> Usage:
        """Return `reported` with estimates for the numbers that it lacks."""
        request = outcome.request
        if request.surface not in ("chat", "responses"):
            return reported
        estimate = self._tokens.expect(request, reading.written_bytes).usage
        return msgspec.structs.replace(
            reported,
            prompt_tokens=reported.prompt_tokens or estimate.prompt_tokens,
            completion_tokens=reported.completion_tokens or estimate.completion_tokens,
        )


def is_billed(outcome: Outcome, reading: Reading) -> bool:
    """Whether the teacher bills the request with this answer: a later answer may tell what it took."""
    if outcome.status >= 400:
        # A refused request is not billed.
        return outcome.status == CLIENT_LEFT and outcome.request.surface != "other"
    if is_unfinished(reading) or _has_only_failed(reading):
        return False
    request = outcome.request
    if request.surface != "other":
        return True
    endpoint = request.resource.endpoint
    if endpoint is None:
        return request.resource.method == "POST" and reading.usage is not None
    return endpoint.usage == "answer" and request.resource.method == "POST"


def is_unfinished(reading: Reading) -> bool:
    """Whether the teacher is still at work on it: a later answer says what it took."""
    return reading.usage is None and reading.status in ("queued", "in_progress") and not reading.written_bytes


def _has_only_failed(reading: Reading) -> bool:
    """Whether the answer is an error with status 200, as aggregators give it, and nothing was written."""
    return reading.status == "failed" and reading.usage is None and not reading.written_bytes


def _tier_of(reading: Reading) -> str:
    return "" if reading.service_tier in _USUAL_TIERS else reading.service_tier


def _is_plausible(usage: Usage) -> bool:
    tokens = (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)
    return min(tokens) >= 0 and max(tokens) <= MAX_TOKENS


def _count_spoken(request: Request) -> int:
    try:
        body = msgspec.json.decode(request.body)
    except (ValueError, RecursionError):
        return 0
    text = body.get("input") if isinstance(body, dict) else None
    return len(text) if isinstance(text, str) else 0
