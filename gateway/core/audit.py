"""An audit: a piece of evidence for certificates and for the drift alarm."""

from __future__ import annotations

import msgspec

from gateway.core.certificate import RiskTarget, Stratum


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one held-out request that the teacher and a specialist both answered."""

    request_id: str
    at: float
    """Unix seconds."""
    task: str
    stratum: Stratum
    template: str
    """Hex hash of the request's own template."""
    place: str = ""
    """Where a near copy of the template differs from the task's own."""
    is_on_probation: bool = False
    text_hash: int = 0
    caller: str = ""
    is_vouched_for: bool = True
    propensity: float = 1.0
    """The probability with which the request was held out."""
    version: int
    """The version of the specialist that made the draft."""
    loss: float
    """From 0, the draft agrees with the teacher's answer, to 1; 1 also where the teacher refused. By the
    strictest agreement of the certificates in force."""
    score: float
    """The draft's score, as it was compared with the threshold."""
    passes_as_new: bool | None = None
    """Whether a draft on probation would pass the task's certificate for new texts; None without one."""
    accepted: tuple[RiskTarget, ...] = ()
    """The certificates in force, by their targets, under which the client would have got the draft.
    A certificate makes its promise about these drafts only."""
    graded: tuple[float, ...] = ()
    """The loss for each of `accepted` by its own agreement; empty where `loss` is that of all."""

    def loss_for(self, number: int) -> float:
        """Return the loss by the agreement of the target `accepted[number]`."""
        return self.graded[number] if self.graded else self.loss
