"""A refusal: a request that ended before anything could answer it."""

from __future__ import annotations

import msgspec


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a request that the gateway refused."""

    request_id: str
    status: int
    reason: str
    key: str
    """The name of the caller's key; empty for a stranger."""
    policy: str
    """The policy that refused; empty if none did."""
    method: str
    path: str
    model: str = ""
    """What was asked for; empty if the request was not read that far."""
    because: str = ""
    """Why no specialist may answer, where only one was asked for."""
