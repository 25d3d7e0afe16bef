"""The nouns between a request and its answer: Plan, Route, Verdict."""

from __future__ import annotations

from typing import Literal

import msgspec

from gateway.core.budget import Budget, Period
from gateway.core.certificate import EXACT, RiskTarget, Source
from gateway.core.constraints import UNCONSTRAINED, Constraints

MatchKind = Literal["fingerprint", "embedding"]
"""How a task was recognized: its template is equal, or near to it."""

CopyStatus = Literal["known", "separate"]
"""What a near copy of a template has proved to be: the same task, or one of its own."""


PrivateKind = Literal["email", "phone", "card", "iban", "ip", "national_id", "secret"]
"""Private data that has a form; a name in plain words has none."""


Trainable = Literal["yes", "no", "restricted"]
"""What the terms of use of a teacher allow: to keep its answers and learn from them, neither, or both with
restrictions."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy allows for one request."""

    policy: str
    """The policy's name."""
    may_serve: bool
    scope: str = ""
    """What this request learns from and is served from: the traffic of a tenant, of a policy, or all."""
    because: str = ""
    """Why no specialist may serve; empty if one may."""
    teachers: tuple[str, ...] = ()
    """The teachers that may answer, in the order of asking; empty: all."""
    weights: tuple[float, ...] = ()
    """The share of the requests that ask each of `teachers` first; empty: the first gets all."""
    first_byte_s: float | None = None
    """How long a teacher may take for its first byte; None: as its settings say."""
    idle_s: float | None = None
    """How long it may be silent within an answer."""
    budgets: tuple[Budget, ...] = ()
    """What the teacher's answers to this request are paid from."""
    asks_usage: bool = False
    """Whether streams are asked for their usage although the client did not ask."""
    may_escalate: bool = True
    """False once a budget is spent: a request that needs the teacher is then refused."""
    spent_period: Period = "day"
    """How long that budget is for."""
    is_reserve: bool = False
    """Whether only the budget's reserve is left: the teacher then answers nothing but audits of drafts
    that pass."""
    alpha: float = 0.02
    """Of the answers served locally, at most this share may disagree with the teacher ..."""
    delta: float = 0.10
    """... except with this probability."""
    days: float = 30.0
    """The window of evidence that a certificate may rest on."""
    agreement: str = EXACT
    """How a served answer is compared with the teacher's."""
    constraints: Constraints = UNCONSTRAINED
    """What a specialist may take to answer."""
    evidence: Source = "live"
    """Whether a certificate may stand on imported rows until live audits decide."""
    audit_share: float = 0.02
    """Share of certified traffic that teacher and specialist both answer, once the task is settled."""
    settling_audit_share: float = 0.1
    """The same share before that: a young certificate rests on little evidence, a better one needs more."""
    shadow_audit_share: float = 0.3
    """Share of uncertified traffic held out as evidence; the teacher answers this traffic anyway."""
    may_harvest: bool = True
    keep_days: float | None = None
    """How long what is harvested may be kept; None: as long as the settings say."""
    is_restricted: bool = False
    """Whether the teacher's terms restrict what its answers may be used for."""
    private_kinds: frozenset[PrivateKind] = frozenset()
    """What is replaced before anything is kept; a request that a specialist would see it in goes to the
    teacher and teaches nothing."""
    hedge_s: float | None = None
    """When a draft takes longer than this, the teacher is called beside it; None: wait for the draft."""
    keepalive_s: float | None = None
    """After how much silence a stream of the teacher's gets a comment; None: it passes as it comes."""
    may_serve_stored: bool = False
    """Whether a specialist may answer a request that the teacher would store by default."""
    embed: str | None = None
    """The local encoder that answers embeddings requests; None: the teacher answers them."""

    @property
    def target(self) -> RiskTarget:
        """What a certificate must promise before a draft is served."""
        return RiskTarget(self.alpha, self.delta, self.days, self.agreement, self.evidence)

    shares_objects: bool = False
    """Whether the caller may use objects of other tenants, and list all of them."""


class Route(msgspec.Struct, frozen=True):
    """The task of a request and how it was recognized.

    `similarity` is 1 for an equal fingerprint, else the cosine to the task's template.
    """

    task: str
    match: MatchKind = "fingerprint"
    similarity: float = 1.0
    place: str = ""
    """Where a near copy of the template differs from it; empty if only in dates, ids and the like."""
    is_on_probation: bool = False
    """Whether a near copy has yet to show that it is the same task: each of its requests is audited."""

    @property
    def is_variant(self) -> bool:
        """Whether the template is a near copy of the task's own."""
        return self.match == "embedding"


def copy_keys(template: str, place: str) -> tuple[str, str]:
    """Return the keys under which a near copy's status is kept: its own, that of its place.

    Its own status outranks its place's.
    """
    return template, f"place {place}"


class Verdict(msgspec.Struct, frozen=True):
    """Whether a draft may be served, with the reason for it: short, so that it can be counted."""

    accepts: bool
    because: str
    threshold: float | None = None
    """The threshold that the draft was compared with; None if there was none."""
