"""An audit: a piece of evidence for certificates and for the drift alarm."""

from __future__ import annotations

import msgspec

from gateway.core.decision import Lane


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one held-out request that the teacher and a specialist both answered."""

    at: float
    """Unix seconds."""
    task: str
    lane: Lane
    version: int
    """The version of the specialist that made the draft."""
    epoch: int
    """The epoch of the task's Standing when the request was answered."""
    loss: float
    """From 0, the draft agrees with the teacher's answer, to 1."""
    score: float
    """The draft's score, as it was compared with the threshold."""
    accepted: bool
    """Whether the draft passed a certified threshold: without the audit the client would have got it.
    A certificate in force makes its promise about these drafts only."""
