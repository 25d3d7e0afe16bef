"""Certificates: what a task's specialist may answer, for whom, and on which evidence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol, get_args

import msgspec

from gateway.core.constraints import UNCONSTRAINED, Constraints, Footprint
from gateway.core.draft import Deferral, Draft

Stratum = Literal["new", "learnt", "variant"]
"""Three populations that never vouch for each other: texts that the version has not learnt, texts that
it has, and requests with a template that is a near copy of the task's own."""

STRATA: tuple[Stratum, ...] = get_args(Stratum)
"""All of them, in the order of reports."""

Stage = Literal["shadow", "live", "alarm"]
"""shadow: drafts are made and never served. live: certified, so drafts are served. alarm: audits
showed that the certificate no longer holds, so the teacher answers until a new one is earned."""


Source = Literal["imported", "live"]
"""Where evidence comes from: held-out rows of an import, as they were recorded elsewhere, or audits of the
traffic as it is."""

NOT_CONFIRMED = "certified on imported rows, not yet confirmed live"
"""What every report says of a certificate whose evidence is imported."""

EXACT = "exact"
"""The strictest agreement: no other one finds a loss where it finds none."""


class RiskTarget(msgspec.Struct, frozen=True, order=True):
    """What a policy asks for: at most `alpha` wrong with probability 1 - `delta`, on `days` of evidence.

    `agreement` names how an answer is compared with the teacher's; empty: in any way. `evidence` is the
    weakest that will do: what stands on live audits is as good where imported rows would be enough.
    """

    alpha: float = 0.02
    delta: float = 0.10
    days: float = 30.0
    agreement: str = EXACT
    evidence: Source = "live"

    @property
    def manner(self) -> str:
        """The agreement and the evidence in words for reports; empty for the exact one on live audits."""
        agreement = "" if self.agreement == EXACT else f" by {self.agreement}"
        return agreement if self.evidence == "live" else f"{agreement} on imported rows"

    @property
    def confirmed(self) -> RiskTarget:
        """The same on live audits."""
        return msgspec.structs.replace(self, evidence="live")


ANY_TARGET = RiskTarget(1.0, 1.0, float("inf"), "", "imported")
"""What every certificate meets."""


class Requirement(msgspec.Struct, frozen=True):
    """What a policy asks of a specialist: a promise, and what it may take to keep it."""

    target: RiskTarget
    constraints: Constraints = UNCONSTRAINED


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """What one stratum of a task has earned for one risk target, or still lacks.

    All times are unix seconds.
    """

    stratum: Stratum
    target: RiskTarget
    stage: Stage = "shadow"
    threshold: float | None = None
    """The lowest score that is served; None while nothing is certified."""
    tentative: float | None = None
    """The threshold that the evidence suggests but does not prove: for the shadow report, never served."""
    forms: tuple[str, ...] = ()
    """The forms of conversation that the evidence covers; requests of any other go to the teacher."""
    novelty_floor: float = -1.0
    """The lowest similarity to what was learnt that the evidence covers; -1 covers all."""
    evidence_from: float = 0.0
    evidence_to: float = 0.0
    """With evidence_from: the dates of the audits that it rests on."""
    expires_at: float = 0.0
    """When it lapses unless it was renewed."""
    audits: int = 0
    """Independent audits in the window that the version was tested on."""
    accepted: int = 0
    losses: float = 0.0
    """Among the accepted audits."""
    coverage: float = 0.0
    """Share of the audits that passes the threshold, or the tentative one."""
    attempts: int = 0
    """Attempts to certify since the last alarm; each spends its share of delta."""
    issued_at_attempt: int = 0
    valid_from: float = 0.0
    """Older evidence does not count: an alarm voided it."""
    watched_from: float = 0.0
    """When it was issued after a time without one: what was audited before does not count against it."""
    is_settled: bool = False
    """Whether there is so much evidence that more would hardly loosen the threshold."""
    is_suspect: bool = False
    """Whether another stratum of the task went into alarm since the last attempt."""
    audits_missing: int | None = None
    """Audits that a certificate still needs, estimated; None if unknown or certified."""
    renewal_share: float = 0.0
    """The share of the traffic that must be audited for a renewal in time."""
    note: str = ""
    """The reason for all this, in words for the status report."""

    def is_in_force(self, now: float) -> bool:
        """Whether drafts may be served under it."""
        return self.stage == "live" and self.threshold is not None and now < self.expires_at

    def meets(self, asked: RiskTarget) -> bool:
        """Whether it promises at least as much as `asked`, on evidence that is no older."""
        ours = self.target
        if ours.agreement not in (asked.agreement, EXACT) and asked.agreement:
            return False
        if ours.evidence == "imported" and asked.evidence == "live":
            return False
        return ours.alpha <= asked.alpha and ours.delta <= asked.delta and ours.days <= asked.days

    def exclusion(self, form: str, similarity: float | None) -> str:
        """Return why it does not speak of such a request; empty if it does."""
        if form not in self.forms:
            return "form not certified"
        if similarity is not None and similarity < self.novelty_floor:
            return "unfamiliar text"
        return ""


class Certification(msgspec.Struct, frozen=True, kw_only=True):
    """What a task's specialist is allowed to do.

    All its certificates speak of one `version`. `epoch` counts alarms: a writer that has not seen
    the latest one must not overwrite it.
    """

    task: str
    version: int | None = None
    """The version that drafts; None while the task has no specialist."""
    digest: str = ""
    """The sha256 of the version's manifest: another machine may have given the number to another one.

    Empty in certifications of older versions of stepdown.
    """
    deferral: Deferral | None = None
    """How the version's drafts are scored; None: by their runtime's own score."""
    footprint: Footprint | None = None
    """What the version takes; None if it was not measured."""
    judged_version: int = 0
    """The newest version that was judged, whether or not it drafts; 0 before the first."""
    epoch: int = 0
    certificates: tuple[Certificate, ...] = ()
    note: str = ""
    """Why the task waits: what failed in the learner's last step. Empty once a step succeeds."""

    def find_certificate(self, stratum: Stratum, target: RiskTarget) -> Certificate:
        """Return the certificate of a stratum for a target, an empty one in shadow if there is none yet.

        What alarms voided for the stratum's other targets is void for an empty one, too.
        """
        ours = [each for each in self.certificates if each.stratum == stratum]
        for certificate in ours:
            if certificate.target == target:
                return certificate
        return Certificate(
            stratum=stratum,
            target=target,
            valid_from=max((each.valid_from for each in ours), default=0.0),
        )

    def in_force(self, asked: RiskTarget, now: float) -> Iterator[Certificate]:
        """Yield the certificates under which drafts may be served to a policy that asks for `asked`."""
        if self.version is not None:
            for certificate in self.certificates:
                if certificate.is_in_force(now) and certificate.meets(asked):
                    yield certificate

    def serves(self, asked: RiskTarget, now: float) -> bool:
        """Whether any draft may be served to a policy that asks for `asked`."""
        return any(True for _ in self.in_force(asked, now))

    def certificate_of(self, stratum: Stratum, asked: RiskTarget, now: float) -> Certificate | None:
        """Return the certificate in force that lets the most drafts of `stratum` pass; None without one."""
        found = [each for each in self.in_force(asked, now) if each.stratum == stratum]
        return min(found, key=lambda each: each.threshold or 0.0, default=None)

    @property
    def stage(self) -> Stage:
        """The stage of the task as a whole: live if any certificate is, else alarm if any is in alarm."""
        stages = {certificate.stage for certificate in self.certificates}
        return "live" if "live" in stages else "alarm" if "alarm" in stages else "shadow"


class Certifications(Protocol):
    """The certification of every task, shared by all processes."""

    @property
    def are_known(self) -> bool:
        """Whether they can be read at the moment; otherwise every one is empty."""

    def of(self, task: str) -> Certification:
        """Return the certification of `task`; an empty one if it is unknown. Never blocks."""

    def put_if(self, epoch: int, certification: Certification) -> bool:
        """Store `certification` if the stored one is still of `epoch`; return whether it was. May block."""


def stratum_of(draft: Draft, *, is_variant: bool) -> Stratum:
    """Return the stratum of a request with this draft; `is_variant`: its template is a near copy."""
    if is_variant:
        return "variant"
    return "learnt" if draft.is_learnt else "new"
