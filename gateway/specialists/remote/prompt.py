"""The part of a request to an engine that is the same for every draft of a version."""

from __future__ import annotations

import msgspec

from gateway.specialists.remote.adapters import Adapter
from gateway.specialists.remote.identity import Identity

Message = dict[str, str]


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """The messages before the text, the limits, and the model that must answer.

    `identity` is the model that the version was validated on.
    """

    opening: tuple[Message, ...] = ()
    max_new_tokens: int
    hold_back: int | None = None
    identity: Identity
    adapter: Adapter | None = None
