"""The nouns between a request and its answer: Plan, Route, Standing, Verdict."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from gateway.core.draft import Deferral

Lane = Literal["fingerprint", "embedding"]
"""How a task was recognized: its template is equal, or near to it. Each lane of a task has its own
certificate."""

Stage = Literal["shadow", "live", "alarm"]
"""shadow: drafts are made and never served. live: certified, so drafts are served. alarm: audits
showed that the certificate no longer holds, so the teacher answers until a new one is earned."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy allows for one request."""

    policy: str
    """The policy's name."""
    may_serve: bool
    because: str = ""
    """Why no specialist may serve; empty if one may."""
    may_escalate: bool = True
    """False once the day's budget is spent: a request that needs the teacher is then refused."""
    alpha: float = 0.02
    """Of the answers served locally, at most this share may disagree with the teacher ..."""
    delta: float = 0.10
    """... except with this probability."""
    audit_share: float = 0.02
    """Share of certified traffic that teacher and specialist both answer, once the task is settled."""
    settling_audit_share: float = 0.1
    """The same share before that: a young certificate rests on little evidence, a better one needs more."""
    shadow_audit_share: float = 0.3
    """Share of uncertified traffic held out as evidence; the teacher answers this traffic anyway."""
    may_harvest: bool = True
    hedge_s: float | None = None
    """When a draft takes longer than this, the teacher is called beside it; None: wait for the draft."""
    may_serve_stored: bool = False
    """Whether a specialist may answer a request that the teacher would store by default."""
    embed: str | None = None
    """The local encoder that answers embeddings requests; None: the teacher answers them."""


class Route(msgspec.Struct, frozen=True):
    """The task of a request and how it was recognized.

    `similarity` is 1 for an equal fingerprint, else the cosine to the task's template.
    """

    task: str
    lane: Lane = "fingerprint"
    similarity: float = 1.0


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What a task's specialist is allowed to do in one lane, and the evidence for it."""

    task: str
    lane: Lane
    stage: Stage = "shadow"
    version: int | None = None
    """The version that drafts; None while the task has no specialist."""
    threshold: float | None = None
    """The lowest score that is served; None while nothing is certified."""
    tentative: float | None = None
    """The threshold that the evidence suggests but does not prove: for the shadow report, never served."""
    alpha: float = 0.02
    delta: float = 0.10
    """With alpha: the risk target that the threshold was certified for, or is tried for."""
    audits: int = 0
    """Number of held-out requests that `version` was evaluated on."""
    is_settled: bool = False
    """Whether there is so much evidence that more would hardly loosen the threshold."""
    audits_missing: int | None = None
    """Held-out requests that a certificate still needs, estimated; None if unknown or certified."""
    coverage: float = 0.0
    """Share of the evidence that passes the threshold, or the tentative one."""
    attempts: int = 0
    """Certification attempts for this task so far in this epoch; delta is spent over them."""
    epoch: int = 0
    """Alarms so far. Evidence from an earlier epoch is void."""
    valid_from: float = 0.0
    """Unix seconds; older evidence does not count."""
    deferral: Deferral | None = None
    """How the version's drafts are scored; None: by their runtime's own score."""
    note: str = ""
    """The reason for all this, in words for the status report."""

    @property
    def serves(self) -> bool:
        """Whether drafts may reach clients."""
        return self.stage == "live" and self.threshold is not None and self.version is not None


class Standings(Protocol):
    """The standing of every task, shared by all processes."""

    def of(self, route: Route) -> Standing:
        """Return the standing of `route`'s task in its lane; an empty shadow if unknown. Never blocks."""

    def put_if(self, epoch: int, standing: Standing) -> bool:
        """Store `standing` if the stored one is still of `epoch`; return whether it was. May block."""


class Verdict(msgspec.Struct, frozen=True):
    """Whether a draft may be served, with the reason for it: short, so that it can be counted."""

    accepts: bool
    because: str
    threshold: float | None = None
    """The threshold in force; None if nothing is certified."""
