"""Whether live traffic is another mix than an import, while only imported rows vouch for what is served.

The drift alarm waits for proof that alpha is broken: with one answer in ten wrong, for 50 accepted audits. If
the import did not know half of the topics, it shows sooner in how unsure the drafts are; then nothing vouches
for the answers any more, right or wrong. A bet is made on each audit that more drafts are unsure than the
same version's drafts of imported rows that it has not learnt. It is won in at most LEVEL of the cases where
no more are, however often one looks (Ville 1939); what that loses is service until live audits confirm the
threshold.

A like bet on the losses was tried: at a level that stopped one wrong answer in ten 20 audits sooner, it also
stopped a good import of CLINC150 (two of its first 24 answers were wrong, and 9 of the next 666).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from gateway.confidence.judging import ScoredAudit
from gateway.confidence.units import independent_units

LEVEL = 0.05
"""With 0.02 it takes 44 audits instead of 35 to find that an import knew half of Banking77's topics."""
_UNSURE_AMONG_IMPORTED = 0.22
"""Share of the drafts of imported rows that count as unsure."""
_UNSURE = 0.3
"""Share of the live ones that is bet against: larger, as few imported rows tell where their share ends."""
_UNSURE_ELSEWHERE = 0.5
"""The share that is found soonest. An import of half of the topics leaves 0.52 to 0.57 unsure."""
_STAKE = (_UNSURE_ELSEWHERE - _UNSURE) / (_UNSURE * (1.0 - _UNSURE))


def is_other_mix(imported: Sequence[ScoredAudit], audits: Sequence[ScoredAudit]) -> bool:
    """Whether the drafts of new texts in `audits` (oldest first) are unsure too often for the mix imported.

    `imported` are rows that an import held out. Both are scored by the version that serves: scores of another
    student, perhaps without a first stage, are on another scale.
    """
    if not imported:
        return False
    least = sorted(each.score for each in imported)[int(_UNSURE_AMONG_IMPORTED * len(imported))]
    capital = 0.0
    for unit in independent_units(audits, once_per_text=True):
        capital += math.log1p(_STAKE * ((unit.score < least) - _UNSURE))
        if capital >= -math.log(LEVEL):
            return True
    return False
