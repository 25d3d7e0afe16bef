"""A policy as it is written in a file."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Share = Annotated[float, Meta(ge=0, le=1)]
Risk = Annotated[float, Meta(gt=0, le=0.5)]
Globs = Annotated[tuple[str, ...], Meta(min_length=1)]


class AuditShares(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shares of traffic held out as evidence, before and after a certificate."""

    shadow: Share = 0.3
    """Costs nothing, the teacher answers anyway; 0.3 earned certificates fastest on four data sets."""
    settling: Share = 0.1
    """From the first certificate until the evidence lets a good specialist prove itself; a teacher's
    answer each. Without it one SNIPS run in four stayed at its first threshold: 14 % escalation, not 4."""
    certified: Share = 0.02
    """Costs a teacher's answer each; what the alarm and the next certificate live on."""


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be done with the requests which match `models` as well as `callers`."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    models: Globs = ("*",)
    callers: Globs = ("*",)
    serve: bool = True
    """False: the teacher answers everything."""
    forbid: bool = False
    """True: refused with 403, nothing is spent."""
    alpha: Risk = 0.02
    """At most this share of locally served answers disagrees with the teacher ..."""
    delta: Risk = 0.10
    """... except with this probability."""
    audit: AuditShares = AuditShares()
    harvest: bool = True
    stored_responses: Literal["teacher", "serve"] = "teacher"
    """Who answers requests of the Responses API which do not say `store`. OpenAI stores those answers
    for 30 days; one of ours is stored nowhere, so that nobody can continue it by its id."""
    embed: Annotated[str, Meta(min_length=1)] | None = None
    """The local encoder which answers POST /v1/embeddings; None: the teacher does."""
    hedge_ms: Annotated[float, Meta(ge=0)] | None = None
    """A draft which takes longer has the teacher asked beside it; whoever is first answers. Both may
    cost: None, the default, waits for the draft."""
    usd_per_day: Annotated[float, Meta(ge=0)] | None = None
    """What the teacher may cost per UTC day; None sets no limit."""


class PolicyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of policies; the first which matches decides."""

    policies: list[Policy]
