"""Certificates on imported rows, for policies that say `imported: serve`, until live audits decide.

This is the one place where imported rows vouch for anything. They are held out at the import, never learnt,
and judged as audits are, by a test of the one threshold that live audits are to confirm. Such a certificate
has a target of its own (`evidence: imported`): it meets no other policy, and its delta, its attempts and its
alarms are never those of the certificate on live audits.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.confidence.judging import (
    CONFIRMATION_ATTEMPTS,
    ScoredAudit,
    confirm_certificate,
    describe_losses,
    select_evidence,
)
from gateway.confidence.learn_then_test import audits_accepted
from gateway.core import NOT_CONFIRMED, Certificate, Certification, RiskTarget
from gateway.distill.imported import CONFIRMING_SHARE
from gateway.distill.imported_alarm import is_other_mix
from gateway.distill.prospects import Candidate, audits_at_once, choose_hypothesis
from gateway.distill.renewal import most_evidence
from gateway.distill.scored_audits import score_audits
from gateway.harvest.base import Row


class ImportedJudge:
    """Says what the rows that imports held out (oldest first) certify of `candidate`."""

    def __init__(
        self,
        candidate: Candidate,
        rows: Sequence[Row],
        audits: Sequence[ScoredAudit],
        asked: Sequence[RiskTarget],
        now: float,
    ) -> None:
        """`audits` are the live ones of new texts as `candidate` answers them, oldest first."""
        self._candidate = candidate
        self._audits = audits
        self._asked = asked
        # No coin drew them: within the imports all weigh alike.
        self._rows = [msgspec.structs.replace(row, propensity=1.0) for row in rows]
        self._now = now

    def add_certificates(self, old: Certification, tested: Certification) -> Certification:
        """Return `tested`, which live audits made of `old`, with what imported rows certify until then.

        An alarm raises the epoch, as that of the drift monitor does.
        """
        found = [self._certify(old, tested, each) for each in self._asked if each.evidence == "imported"]
        watched = [self._watch(each) for each in found if each is not None]
        return msgspec.structs.replace(
            tested,
            epoch=tested.epoch + any(each not in found for each in watched),
            certificates=(*tested.certificates, *watched),
        )

    def _watch(self, ours: Certificate) -> Certificate:
        """Return `ours`, in alarm if the traffic is another mix than what was imported.

        What live audits are confirming goes on: the same threshold may be right for this traffic.
        """
        since = [audit for audit in self._audits if audit.at >= ours.watched_from]
        if not since or not ours.is_in_force(self._now) or not is_other_mix(self._score(ours.target), since):
            return ours
        note = "on imported rows: live drafts are unsure more often, so this is another mix"
        return msgspec.structs.replace(ours, stage="alarm", threshold=None, note=note)

    def _certify(self, old: Certification, tested: Certification, target: RiskTarget) -> Certificate | None:
        """Return the certificate for `target`; None where live audits have decided, or an alarm."""
        ours = old.find_certificate("new", target)
        before, live = (each.find_certificate("new", target.confirmed) for each in (old, tested))
        if ours.is_in_force(self._now) and not live.is_in_force(self._now):
            if self._candidate.version != old.version:
                return _end(ours, f"it spoke of version {old.version}")
            is_refuted = live.attempts > before.attempts
            return _end(ours, "live audits do not confirm it") if is_refuted else ours
        if live.attempts or live.stage != "shadow":
            return None
        # Once: these rows have no more delta to spend.
        return ours if ours.attempts else self._test(ours)

    def _test(self, ours: Certificate) -> Certificate | None:
        threshold = choose_hypothesis(self._candidate, ours)
        if threshold is None:
            return None
        audits = self._score(ours.target)
        evidence = select_evidence(audits, ours, self._now, most_evidence(ours.target))
        (point,) = audits_accepted(evidence.scores, evidence.losses, (threshold,))
        needed = audits_at_once(self._candidate, ours, threshold)
        if point.count < needed:
            note = f"{point.count} held-out imported rows pass, {needed} are needed"
            return msgspec.structs.replace(ours, note=note)
        passed = confirm_certificate(evidence, ours, self._now, threshold)
        found = f"{point.count} accepted, {describe_losses(ours.target, point.count, point.losses)}"
        if passed is None:
            note = f"imported rows do not certify it: {found}"
            return msgspec.structs.replace(ours, attempts=CONFIRMATION_ATTEMPTS, note=note)
        # As many audits as the policy allows: at the settling 10 %, the 77 accepted ones that confirm
        # Banking77's threshold, which a quarter of the requests passes, would take 3,000 requests.
        return msgspec.structs.replace(
            passed, renewal_share=CONFIRMING_SHARE, note=f"{NOT_CONFIRMED}: {found}"
        )

    def _score(self, target: RiskTarget) -> list[ScoredAudit]:
        """Return the held-out rows as drafted, without those that it learnt since from live traffic."""
        return score_audits(self._candidate, self._rows, (target,))["new"]


def _end(ours: Certificate, why: str) -> Certificate:
    return msgspec.structs.replace(ours, stage="shadow", threshold=None, note=f"on imported rows: {why}")
