"""Whether live audits are what an import made us expect, while only imported rows vouch for what is served.

The drift alarm waits for proof that alpha is broken: with one answer in ten wrong, for 50 accepted audits.
Here the traffic must only differ from the import, so that nothing vouches for it any more. Two bets are made
on each audit: that more of the drafts are unsure, as when the import did not know all topics, and that
accepted answers are wrong more often. Either is won in at most LEVEL of the cases where nothing differs,
however often one looks (Ville 1939); what is lost then is service until live audits confirm the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from gateway.confidence.confirmation import GOOD_SHARE
from gateway.confidence.judging import ScoredAudit
from gateway.confidence.units import independent_units
from gateway.core import Certificate

LEVEL = 0.05
"""With 0.1 one of ten good imports of CLINC150 was stopped, with 0.02 another mix of Banking77 takes 40
audits instead of 32."""
_UNSURE = 0.3
"""Share of the drafts in validation that count as unsure. The student of all lessons is surer: 0.2 to 0.25 of
its drafts of the same traffic are."""
_UNSURE_ELSEWHERE = 0.5
"""The share that is found soonest. An import of half of the topics leaves 0.52 to 0.57 unsure."""
_WRONG_ELSEWHERE = 2.0
"""Times alpha: the risk that is found soonest."""


def find_difference(
    certificate: Certificate, validation: Sequence[float], audits: Sequence[ScoredAudit]
) -> str:
    """Return how `audits` (oldest first) differ from what the import made us expect; empty if they do not.

    `validation` are the scores of imported rows by a student of the others; `certificate` stands on imports.
    """
    since = [audit for audit in audits if audit.at >= certificate.watched_from]
    units = independent_units(since, once_per_text=True)
    least = sorted(validation)[int(_UNSURE * len(validation))] if validation else 0.0
    if _is_won((float(unit.score < least) for unit in units), _UNSURE, _UNSURE_ELSEWHERE):
        return "live drafts are unsure more often than those of imported rows"
    target, losses = certificate.target, _losses(certificate, units)
    if _is_won(losses, GOOD_SHARE * target.alpha, min(1.0, _WRONG_ELSEWHERE * target.alpha)):
        return "live answers disagree with the teacher more often than imported ones"
    return ""


def _losses(certificate: Certificate, units: Iterable[ScoredAudit]) -> list[float]:
    """Return the losses of what `certificate` would serve."""
    assert certificate.threshold is not None
    return [
        unit.loss_by(certificate.target.agreement)
        for unit in units
        if unit.is_servable
        and unit.score >= certificate.threshold
        and not certificate.exclusion(unit.form, unit.similarity)
    ]


def _is_won(values: Iterable[float], expected: float, suspected: float) -> bool:
    """Whether a bet that the mean is `suspected` ever makes 1 / LEVEL of 1; at `expected` it should not."""
    stake = (suspected - expected) / (expected * (1.0 - expected))
    capital = 0.0
    for value in values:
        capital += math.log1p(stake * (value - expected))
        if capital >= -math.log(LEVEL):
            return True
    return False
