"""The nouns between a request and its answer: Plan, Route, Standing, Verdict."""

from __future__ import annotations

from typing import Literal

import msgspec

from gateway.core.draft import Deferral

Lane = Literal["fingerprint", "embedding"]
"""How a task was recognised. Each lane of a task earns its own certificate."""

Stage = Literal["shadow", "live", "alarm"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy allows for one request."""

    policy: str
    may_serve: bool
    because: str = ""
    """Why no specialist may serve; empty when one may."""
    may_escalate: bool = True
    """False once the day's budget is spent: whatever needs the teacher is refused."""
    alpha: float = 0.02
    delta: float = 0.10
    audit_share: float = 0.02
    """Share of certified traffic which both answer once the task is settled."""
    settling_audit_share: float = 0.1
    """The same until then: a young certificate rests on little, and better ones need evidence."""
    shadow_audit_share: float = 0.3
    """Share of uncertified traffic held out as evidence; the teacher answers it anyway."""
    may_harvest: bool = True
    hedge_s: float | None = None
    """How long a draft may take before the teacher is asked beside it; None for as long as it takes."""
    may_serve_stored: bool = False
    """Whether a specialist may answer what the teacher would have stored unasked."""
    embed: str | None = None
    """The local encoder which answers embeddings requests; None where the teacher does."""


class Route(msgspec.Struct, frozen=True):
    """The task of a request, and how it was recognised.

    `similarity` is 1 for an exact fingerprint, else the cosine to the task's template.
    """

    task: str
    lane: Lane = "fingerprint"
    similarity: float = 1.0


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What a task's specialist is allowed to do in one lane, and on which evidence.

    `threshold` is None while nothing is certified; `tentative` is the point estimate that
    the shadow report uses and that never serves. `epoch` counts alarms: evidence from an
    earlier epoch is void.
    """

    task: str
    lane: Lane
    stage: Stage = "shadow"
    version: int | None = None
    threshold: float | None = None
    tentative: float | None = None
    alpha: float = 0.02
    delta: float = 0.10
    audits: int = 0
    is_settled: bool = False
    """Whether so much evidence exists that more would hardly loosen the threshold."""
    audits_missing: int | None = None
    coverage: float = 0.0
    attempts: int = 0
    """Certification attempts in this task so far; delta is spent over them."""
    epoch: int = 0
    valid_from: float = 0.0
    """Unix seconds; evidence older than this does not count."""
    deferral: Deferral | None = None
    """How the version's drafts are scored; None for the score which its runtime gives them."""
    note: str = ""

    @property
    def serves(self) -> bool:
        """Whether drafts may reach clients."""
        return self.stage == "live" and self.threshold is not None and self.version is not None


class Verdict(msgspec.Struct, frozen=True):
    """Whether a draft may be served, and why not if not."""

    accepts: bool
    because: str
    threshold: float | None = None
