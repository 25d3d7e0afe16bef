"""What a version may do: its answers on the evidence, and a test of each certificate that can win it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from gateway.confidence.confirmation import audits_to_confirm, is_confirmed, is_refuted
from gateway.confidence.judging import (
    CONFIRMATION_ATTEMPTS,
    NEVER,
    Evidence,
    ScoredAudit,
    issue_confirmed,
    select_evidence,
    try_certificate,
)
from gateway.confidence.learn_then_test import audits_accepted
from gateway.core import (
    STRATA,
    Certificate,
    Certification,
    RiskTarget,
)
from gateway.distill.base import Config
from gateway.distill.imported import CONFIRMING_SHARE, has_fixed_population, is_being_confirmed
from gateway.distill.prospects import (
    Candidate,
    choose_grid,
    choose_hypothesis,
    describe_outlook,
    least_coverage,
    most_to_confirm,
    predict_coverage,
    renewal_share,
)
from gateway.distill.renewal import is_last_try, is_old, is_settled, most_evidence
from gateway.distill.scored_audits import ScoredAudits


class Judge:
    """Tests versions on held-out rows. Whether a test is made never depends on the losses in them."""

    def __init__(self, config: Config, clock: Callable[[], float] = time.time) -> None:
        self._config = config
        self._clock = clock

    def judge_version(
        self,
        candidate: Candidate,
        certification: Certification,
        audits: ScoredAudits,
        targets: Sequence[RiskTarget],
    ) -> Certification:
        """Return what `candidate` may do; `audits` are those that `score_audits` returns for it.

        Every attempt is counted, whether or not it passed. Certificates of another version are
        not looked at: `choose_certification` says which of the two certifications to keep.
        """
        certificates = [
            self._test_version(
                candidate,
                certification.find_certificate(stratum, target),
                audits[stratum],
                is_successor=candidate.version != certification.version,
            )
            for stratum in STRATA
            # Before there are audits of what imported rows taught: the first request is to be one.
            if audits[stratum]
            or (candidate.is_imported and stratum == "new")
            or any(each.stratum == stratum for each in certification.certificates)
            for target in targets
        ]
        return msgspec.structs.replace(
            certification,
            version=candidate.version,
            judged_version=max(candidate.version, certification.judged_version),
            deferral=candidate.deferral,
            footprint=candidate.footprint,
            certificates=tuple(certificates),
        )

    def may_improve(
        self,
        candidate: Candidate,
        certification: Certification,
        audits: ScoredAudits,
        targets: Sequence[RiskTarget],
    ) -> bool:
        """Whether a test of `candidate` can expect to serve more than one of the certificates in force."""
        return any(
            self._predict(
                candidate,
                each,
                self._evidence(each, audits[each.stratum], is_successor=True),
                self._power(each),
            )
            > each.coverage
            for each in certification.certificates
            if each.target in targets and audits[each.stratum]
        )

    def renew(
        self,
        candidate: Candidate,
        certification: Certification,
        audits: ScoredAudits,
        targets: Sequence[RiskTarget],
    ) -> Certification:
        """Return `certification` after testing its own version (`candidate`) again on today's evidence.

        What is in force and cannot be renewed yet stays as it is; what is not in force is tried as
        for a new version.
        """
        now = self._clock()
        certificates = []
        for stratum in STRATA:
            for target in targets:
                old = certification.find_certificate(stratum, target)
                if old.is_in_force(now):
                    certificates.append(self._renew_one(candidate, old, audits[stratum]))
                elif audits[stratum] or old in certification.certificates:
                    certificates.append(self._test_version(candidate, old, audits[stratum]))
        return msgspec.structs.replace(certification, certificates=tuple(certificates))

    def _renew_one(
        self, candidate: Candidate, old: Certificate, audits: Sequence[ScoredAudit]
    ) -> Certificate:
        """Return `old` renewed, or as it is if the test cannot be won yet.

        A test that fails ends it: today's audits do not support what older ones did.
        """
        evidence = self._evidence(old, audits)
        if not is_old(old, self._clock()) and not self._is_sure(candidate, old, evidence):
            return msgspec.structs.replace(old, is_settled=old.is_settled or is_settled(old, evidence))
        new = self._test(candidate, old, audits, evidence, self._config.min_power)
        return new if new.threshold is not None or new.attempts > old.attempts else old

    def _is_sure(self, candidate: Candidate, old: Certificate, evidence: Evidence) -> bool:
        """Whether a test will hardly end a certificate that could stay as it is for now."""
        return self._predict(candidate, old, evidence, self._config.sure_power) >= old.coverage

    def grid_for(self, candidate: Candidate, old: Certificate, evidence: Evidence) -> Sequence[float]:
        """Return the thresholds that a test of `candidate` on `evidence` looks at, strict to loose."""
        return choose_grid(candidate, old, len(evidence.audits), self._config.min_power)

    def _predict(self, candidate: Candidate, old: Certificate, evidence: Evidence, min_power: float) -> float:
        grid = self.grid_for(candidate, old, evidence)
        return predict_coverage(candidate, old, evidence.audits, min_power, grid)

    def _test_version(
        self,
        candidate: Candidate,
        old: Certificate,
        audits: Sequence[ScoredAudit],
        *,
        is_successor: bool = False,
    ) -> Certificate:
        evidence = self._evidence(old, audits, is_successor=is_successor)
        if is_successor and is_being_confirmed(old):
            # Its audits were looked at: a version that starts again on them would have another delta.
            attempts = old.attempts + CONFIRMATION_ATTEMPTS
            old = msgspec.structs.replace(old, attempts=attempts, renewal_share=0.0)
        return self._test(candidate, old, audits, evidence, self._power(old))

    def _evidence(
        self, old: Certificate, audits: Sequence[ScoredAudit], *, is_successor: bool = False
    ) -> Evidence:
        return select_evidence(
            audits,
            old,
            self._clock(),
            most_evidence(old.target),
            is_successor=is_successor,
            keeps_population=not is_successor and has_fixed_population(old),
        )

    def _power(self, old: Certificate) -> float:
        """Return the probability of success that a test of a version needs."""
        return self._config.sure_power if is_last_try(old) else self._config.min_power

    def _test(
        self,
        candidate: Candidate,
        old: Certificate,
        audits: Sequence[ScoredAudit],
        evidence: Evidence,
        min_power: float,
    ) -> Certificate:
        hypothesis = choose_hypothesis(candidate, old)
        if hypothesis is not None:
            return self._confirm(candidate, old, audits, evidence, hypothesis)
        least = least_coverage(old, len(evidence.audits), self._config)
        if self._predict(candidate, old, evidence, min_power) < least:
            return self._without_attempt(candidate, old, evidence)
        grid = self.grid_for(candidate, old, evidence)
        passed = try_certificate(evidence, old, self._clock(), grid)
        if passed is None:
            attempted = msgspec.structs.replace(old, attempts=old.attempts + 1)
            return self._without_attempt(candidate, attempted, evidence)
        return self._settle(old, passed, audits, evidence)

    def _confirm(
        self,
        candidate: Candidate,
        old: Certificate,
        audits: Sequence[ScoredAudit],
        evidence: Evidence,
        threshold: float,
    ) -> Certificate:
        """Return `old` after what `evidence` says of one `threshold`: confirmed, refuted, or neither."""
        scores = _without_the_floor_itself(evidence)
        (point,) = audits_accepted(scores, evidence.losses, (threshold,))
        alpha, delta = old.target.alpha, old.target.delta
        if is_confirmed(point.count, point.losses, alpha, delta):
            passed = issue_confirmed(evidence, old, self._clock(), point)
            return self._settle(old, passed, audits, evidence)
        if is_refuted(point.count, point.losses, alpha) or point.count >= most_to_confirm(old.target):
            attempts = old.attempts + CONFIRMATION_ATTEMPTS
            refuted = msgspec.structs.replace(old, attempts=attempts, renewal_share=0.0)
            return self._without_attempt(candidate, refuted, evidence)
        missing = audits_to_confirm(alpha, delta, point.count, point.losses)
        return msgspec.structs.replace(
            self._without_attempt(candidate, old, evidence),
            tentative=threshold,
            accepted=point.count,
            losses=point.losses,
            coverage=point.count / len(evidence.scores) if evidence.scores else 0.0,
            audits_missing=missing,
            renewal_share=CONFIRMING_SHARE,
            note=f"taught by imported rows: {missing} more audits above the threshold confirm it",
        )

    def _settle(
        self, old: Certificate, passed: Certificate, audits: Sequence[ScoredAudit], evidence: Evidence
    ) -> Certificate:
        return msgspec.structs.replace(
            passed,
            # A successor may stand on an older window; the evidence that settled its predecessor has come.
            is_settled=(old.is_in_force(self._clock()) and old.is_settled) or is_settled(passed, evidence),
            renewal_share=renewal_share(passed, audits),
        )

    def _without_attempt(self, candidate: Candidate, old: Certificate, evidence: Evidence) -> Certificate:
        """Return `old` for a version that is not certified, with what it lacks; for reports only."""
        alpha, audits = old.target.alpha, len(evidence.scores)
        grid = self.grid_for(candidate, old, evidence)
        points = audits_accepted(evidence.scores, evidence.losses, grid)
        passing = [point for point in points if point.count and point.losses <= alpha * point.count]
        best = passing[-1] if passing else None
        missing, note = describe_outlook(candidate, old, audits, self._config)
        return msgspec.structs.replace(
            old,
            stage="alarm" if old.stage == "alarm" else "shadow",
            threshold=None,
            tentative=best.threshold if best else None,
            forms=evidence.forms,
            novelty_floor=evidence.novelty_floor,
            evidence_from=evidence.starts_at,
            evidence_to=evidence.ends_at,
            audits=audits,
            accepted=best.count if best else 0,
            losses=best.losses if best else 0.0,
            coverage=best.count / audits if best else 0.0,
            audits_missing=missing,
            note=note,
        )


def _without_the_floor_itself(evidence: Evidence) -> list[float]:
    """Return the scores without that of the audit whose similarity became the novelty floor.

    Given the floor, those above it are independent draws from the population; that one is not.
    """
    scores = list(evidence.scores)
    for place, audit in enumerate(evidence.audits):
        if audit.similarity == evidence.novelty_floor:
            scores[place] = NEVER
            break
    return scores
