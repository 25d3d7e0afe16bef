"""The settings of the room."""

from __future__ import annotations

import msgspec

from gateway.finops.prices import Price


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How requests are accounted for."""

    unknown_price: Price | None = None
    """What a model costs that has no price. None, the default: what the dearest listed one does, so that a
    budget never counts too little."""
