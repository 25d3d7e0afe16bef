"""Cost: what one request took and what that was worth, in dollars."""

from __future__ import annotations

import msgspec

from gateway.core.usage import Usage


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """The account of one request; `counterfactual_usd - usd` was saved.

    Dollars that the teacher bills, and those that it would have billed without any specialist.
    """

    usage: Usage
    """What the teacher took, or for a local answer would have taken, its prompt cache included."""
    usd: float = 0.0
    counterfactual_usd: float = 0.0
    hedge_usd: float = 0.0
    """Of `usd`: paid for a teacher asked beside a draft that was served."""
    model: str = ""
    """The model that the price is listed for."""
    tier: str = ""
    """The service tier that the price is listed for; empty for the usual one."""
    is_known: bool = True
    """Whether that model has a price; else the one of unknown models was taken."""
    is_named_known: bool = True
    """Whether the model that the request names has a price."""
    is_billed: bool = True
    """False where nothing was asked that the teacher bills: refused requests, lists of objects."""


NO_COST = Cost(usage=Usage(0, 0), is_billed=False)
"""The cost of what the teacher does not bill."""
