"""A policy, as a file holds it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gateway.config.bounds import NonNegativeFloat, PositiveFloat, Share
from gateway.config.plugins import load_plugin
from gateway.core import EXACT, Constraints, PrivateKind
from gateway.errors import ConfigError
from gateway.wire.private_data import KINDS

AGREEMENTS = "gateway.confidence.agreements"
NO_POLICY = "none"
"""In the place of a policy's name."""

Risk = Annotated[float, Meta(gt=0, le=0.5)]
Globs = Annotated[tuple[str, ...], Meta(min_length=1)]
RedactedKind = Literal[PrivateKind, "all"]


class AuditShares(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shares of traffic held out as evidence, before and after a certificate."""

    shadow: Share = 0.3
    """Costs nothing: the teacher answers anyway. 0.3 earned certificates fastest on four data sets."""
    settling: Share = 0.1
    """From the first certificate until the evidence lets a good specialist prove itself; each audit costs
    a teacher's answer. Without it one SNIPS run in four kept its first threshold: 14 % escalation, not 4."""
    certified: Share = 0.02
    """The evidence for the alarm and the next certificate; each audit costs a teacher's answer."""


class CertificateRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long evidence speaks for the traffic."""

    days: Annotated[float, Meta(gt=0, le=365)] = 30.0
    """The window of evidence, and how long a certificate is in force unless it is renewed."""


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules for requests that match `models`, `callers`, `paths` and `methods`."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    models: Globs = ("*",)
    """A request without a model, such as one for a file, matches `*` alone."""
    callers: Globs = ("*",)
    paths: Globs = ("*",)
    """Canonical paths. With the gateway's own key, a path that is closed by default (the account's, one
    whose model cannot be read in time, an unknown one) is opened by a policy that names it: its first
    word below /v1/ at least."""
    methods: Globs = ("*",)
    teachers: Annotated[tuple[str, ...], Meta(min_length=1)] | None = None
    """Names of `[[teachers]]`, in the order of asking. Specialists learn from the first; the others answer
    while it cannot, and neither teach nor judge. None: all, as the settings list them."""
    weights: dict[str, PositiveFloat] = {}
    """By name: the shares of the requests that ask each of `teachers` first; one without a share is asked
    only where others cannot answer. What the first of the list answers teaches, whatever its share.
    Without: the first is asked first."""
    first_byte_timeout_s: PositiveFloat | None = None
    """How long a teacher may take for the first byte of these requests; None: as its settings say."""
    idle_timeout_s: PositiveFloat | None = None
    """How long it may be silent within an answer."""
    serve: bool = True
    """False: the teacher answers all requests."""
    forbid: bool = False
    """True: requests are refused with 403 and cost nothing."""
    alpha: Risk = 0.02
    """Of the answers served locally, at most this share may disagree with the teacher ..."""
    delta: Risk = 0.10
    """... except with this probability."""
    agreement: Annotated[str, Meta(min_length=1)] = EXACT
    """When an answer counts as the teacher's: `exact`, `json`, `number:0.01` (numbers may differ by 1 %),
    `text` (letter case and punctuation do not count), `set_f1` (a loss between 0 and 1 for lists)."""
    imported: Literal["confirm", "serve"] = "confirm"
    """What imported rows (`stepdown harvest import`) taught serves once live audits confirm it, or, with
    `serve`, at once: certified on a fifth of the imported rows, which is held out at the import. What was
    imported may not be today's mix, or today's teacher: until live audits confirm it, alarms are the
    only guard."""
    certificate: CertificateRules = CertificateRules()
    audit: AuditShares = AuditShares()
    harvest: bool = True
    keep_days: PositiveFloat | None = None
    """How long what is harvested is kept; None: as long as the settings say. The shortest limit holds."""
    redact: tuple[RedactedKind, ...] | RedactedKind = ()
    """Private data that is replaced in all that is kept: kinds, or "all" of them. A request whose varying
    part holds such data goes to the teacher and is neither lesson nor evidence. To look costs about 0.1 ms
    per KB, so nothing is the default."""
    share: Literal["tenant", "policy", "all"] = "tenant"
    """Whose traffic teaches and is served by one specialist: each tenant's own, that of all callers of
    this policy, or all traffic that says so. Anything but "tenant" lets what one tenant's answers
    taught reach another."""
    objects: Literal["owned", "shared"] = "owned"
    """With the gateway's own key: whether a caller sees the files, batches, responses ... of its tenant
    alone, or those of the whole account."""
    stored_responses: Literal["teacher", "serve"] = "teacher"
    """Who answers requests of the Responses API without `store`. OpenAI stores those answers for 30 days;
    ours are not stored, so a client cannot continue one by its id."""
    embed: Annotated[str, Meta(min_length=1)] | None = None
    """The local encoder that answers POST /v1/embeddings; None: the teacher does."""
    max_latency_ms: PositiveFloat | None = None
    """The most that a specialist may take to answer, from the request's arrival on: later drafts are not
    waited for, and a version whose p99 alone is above it serves nothing here. `specialists.limits` holds,
    too. None: as the settings say."""
    max_memory_mb: PositiveFloat | None = None
    """The most memory of a process that serves the version alone, encoder or base included: a version that
    takes more serves nothing here. None: as the settings say."""
    hedge_ms: NonNegativeFloat | None = None
    """When a draft takes longer, the teacher is called beside it, and the first of the two is served. Both
    may cost money. None, the default: wait for the draft."""
    keepalive_s: PositiveFloat | None = None
    """After so much silence a stream of the teacher's gets a comment, which clients ignore: for proxies that
    cut silent connections while a model thinks. None, the default: it passes untouched."""
    usd_per_day: NonNegativeFloat | None = None
    """Limit on the teacher's cost per UTC day; None: no limit."""
    usd_per_month: NonNegativeFloat | None = None
    budget_per: Literal["policy", "tenant", "key"] = "policy"
    """Whether the requests of the policy share these limits, or each tenant or key has them for itself."""
    usage: Literal["ask", "leave"] | None = None
    """Whether streams of chat completions that did not ask for their usage are asked for it; the client
    does not see the difference. None, the default: only where there is a limit on dollars."""
    warn_share: Share = 0.8
    """Once this share of a limit is spent, the log says so."""

    @property
    def private_kinds(self) -> frozenset[PrivateKind]:
        """What `redact` names."""
        named = (self.redact,) if isinstance(self.redact, str) else self.redact
        return frozenset(KINDS if "all" in named else [kind for kind in named if kind != "all"])

    @property
    def constraints(self) -> Constraints:
        """What specialists may take to answer."""
        return Constraints(max_latency_ms=self.max_latency_ms, max_memory_mb=self.max_memory_mb)

    def __post_init__(self) -> None:
        """Keep the word that reports have for requests without a policy, and know the agreement."""
        if self.name == NO_POLICY:
            raise ValueError(f"a policy cannot be named '{NO_POLICY}': reports call requests without one so")
        if self.agreement != EXACT:
            _check_agreement(self.agreement)


def _check_agreement(agreement: str) -> None:
    """Raise ValueError, which msgspec reports with its place in the file, for an unknown agreement."""
    name, _, option = agreement.partition(":")
    try:
        load_plugin(AGREEMENTS, name).create(option)
    except ConfigError as exc:
        raise ValueError(str(exc)) from exc


class PolicyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of policies; the first that matches decides."""

    policies: list[Policy]
