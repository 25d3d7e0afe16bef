"""What a version could serve under other risk targets, from the stored audits; nothing is certified by it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.confidence.judging import select_evidence, try_certificate
from gateway.core import STRATA, Certificate, Certification, RiskTarget
from gateway.distill.judge import Judge
from gateway.distill.prospects import Candidate
from gateway.distill.renewal import most_evidence
from gateway.distill.scored_audits import score_audits
from gateway.harvest.base import Row


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a first attempt at `target` would have given on the audits of today.

    `share` is that of the task's requests that would be served: 0 if no test passes.
    """

    target: RiskTarget
    share: float
    audits: int
    accepted: int
    losses: float


def preview_targets(
    candidate: Candidate,
    certification: Certification,
    judge: Judge,
    rows: Sequence[Row],
    targets: Sequence[RiskTarget],
    *,
    now: float,
) -> list[Preview]:
    """Return a preview for each target; `rows` are the held-out rows of the task, oldest first.

    Dear: the candidate answers every row. To choose a target by looking at many is no attempt that
    delta was spent for: what a policy then asks for is tested anew.
    """
    scored = score_audits(candidate, rows, targets)
    # An audit stands for so many requests.
    weights = {each: sum(1.0 / (one.propensity or 1.0) for one in scored[each]) for each in STRATA}
    previews = []
    for target in targets:
        share, audits, accepted, losses = 0.0, 0, 0, 0.0
        for stratum in STRATA:
            valid_from = certification.find_certificate(stratum, target).valid_from
            empty = Certificate(stratum=stratum, target=target, valid_from=valid_from)
            evidence = select_evidence(scored[stratum], empty, now, most_evidence(target))
            audits += len(evidence.scores)
            grid = judge.grid_for(candidate, empty, evidence)
            if passed := try_certificate(evidence, empty, now, grid):
                share += passed.coverage * weights[stratum] / sum(weights.values())
                accepted += passed.accepted
                losses += passed.losses
        previews.append(Preview(target=target, share=share, audits=audits, accepted=accepted, losses=losses))
    return previews
