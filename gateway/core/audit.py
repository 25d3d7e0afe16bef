"""One audited answer: what the certificate and the alarm are made from."""

from __future__ import annotations

import msgspec

from gateway.core.decision import Lane


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """A request which both answered. `loss` is 0 (agrees with the teacher) to 1.

    `accepted` says that the draft passed the threshold in force, so that the client would
    have got it; the certificate speaks of these only.
    """

    at: float
    task: str
    lane: Lane
    version: int
    epoch: int
    loss: float
    score: float
    accepted: bool
