"""The record of one decision: who answered a request, why, on which evidence, and what it cost."""

from __future__ import annotations

import msgspec

from gateway.core import EXACT, Refusal, Source
from gateway.store.ledger_row import LedgerRow

REFUSED = "refused"
"""The decision of a request that was refused before anything could answer it."""

MOST_MODEL_CHARS = 100
"""Of the model that a refused request named."""


class CertificateFacts(msgspec.Struct, frozen=True, array_like=True):
    """The certificate that a decision was made under, or what it still lacked. Times are unix seconds."""

    stage: str
    alpha: float
    delta: float
    days: float
    threshold: float | None
    tentative: float | None
    evidence_from: float
    evidence_to: float
    expires_at: float
    audits: int
    accepted: int
    losses: float
    audits_missing: int | None
    note: str
    agreement: str = EXACT
    evidence: Source = "live"


class DecisionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One request, or one later report of what an earlier one took. It holds no content."""

    row: LedgerRow
    """What it took and cost."""
    is_booked: bool = True
    """Whether the ledger counts it; what was refused costs nothing and counts nowhere."""
    status: int
    reason: str
    method: str = ""
    path: str = ""
    """Of what `row.endpoint` does not name: refusals, unknown paths."""
    surface: str = ""
    mode: str = "auto"
    form: str = ""
    match: str = ""
    """How the task was recognized; empty if the request has none."""
    similarity: float | None = None
    """To the task's template, where it is not the template itself."""
    place: str = ""
    is_on_probation: bool = False
    alpha: float = 0.0
    """What the policy asks for, as `delta`, `days` and `agreement`; 0 if it was never asked."""
    delta: float = 0.0
    days: float = 0.0
    agreement: str = EXACT
    stratum: str = ""
    """Of the draft; empty without one."""
    certificate: CertificateFacts | None = None
    version: int = 0
    """The version that drafted, or would have; 0 for none."""
    score: float | None = None
    threshold: float | None = None
    familiarity: float | None = None
    """How near the draft's text lies to what its version has learnt, -1 to 1."""
    is_first_stage: bool = False
    """Whether a head's first stage drafted, from words alone."""
    propensity: float = 0.0
    """The probability of this request to be an audit."""
    is_held_out: bool = False
    would_serve: bool = False
    is_streamed: bool = False
    is_hedged: bool = False
    is_whole: bool = True
    """False for an answer that was broken off."""
    latency_ms: float = 0.0
    first_byte_ms: float = 0.0
    draft_ms: float = 0.0
    weight: float = 1.0
    """How many requests of its task and hour it stands for, once most of them were deleted."""


def must_stay(decision: str, key: str, status: int, *, is_chosen: bool) -> bool:
    """Return whether a record is kept however many there are: audits, refusals, errors, hedges.

    `is_chosen`: it was hedged or held out as evidence. Strangers can be refused without end: their
    refusals are sampled as all else is.
    """
    if decision == REFUSED:
        return bool(key)
    return is_chosen or decision == "audit" or status >= 400


def refusal_record(refusal: Refusal, at: float) -> DecisionRecord:
    """Return the record of a request that was refused at `at`, in unix seconds."""
    key, policy = refusal.key, refusal.policy
    # Any client may send a name as long as a body.
    model = refusal.model[:MOST_MODEL_CHARS]
    row = LedgerRow(
        at, refusal.request_id, "", key, policy, "", REFUSED, "", model, "", "", 0, 0, 0, 0, "",
        0.0, 0.0, 0.0, 0.0, "none", "",
    )  # fmt: skip
    return DecisionRecord(
        row=row,
        is_booked=False,
        status=refusal.status,
        reason=f"{refusal.reason}: {refusal.because}" if refusal.because else refusal.reason,
        method=refusal.method,
        path=refusal.path[:200],
    )
