"""The certificate: the loosest threshold with a risk of at most alpha, with probability 1 - delta.

Source: Angelopoulos et al. 2021, "Learn then Test", arXiv 2110.01052.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from gateway.confidence.betting import betting_p_value, spread_evenly
from gateway.confidence.binomial import binomial_cdf

STARTS = 4
"""Chains in one certificate: with one the threshold saw-tooths, with more each has too little delta."""

_STRICTEST_LOGIT, _LOOSEST_LOGIT, _POINTS = 5.0, -1.0, 48

THRESHOLDS: tuple[float, ...] = tuple(
    1.0 / (1.0 + math.exp(-(_STRICTEST_LOGIT + (_LOOSEST_LOGIT - _STRICTEST_LOGIT) * i / (_POINTS - 1))))
    for i in range(_POINTS)
)
"""Strict to loose, evenly spaced in the logit of the score. Fixed beforehand: a grid made from the
audits would be one more choice made on them. Compared with quantiles of the audits and with a
wider grid, it left the fewest escalations on SNIPS and CLINC150."""


class CertifiedThreshold(msgspec.Struct, frozen=True, kw_only=True):
    """A threshold that passed the test, and the audits that it accepts."""

    threshold: float
    accepted: int
    losses: float
    coverage: float


def certify_threshold(
    scores: Sequence[float],
    losses: Sequence[float],
    alpha: float,
    delta: float,
    *,
    grid: Sequence[float] = THRESHOLDS,
    starts: int = STARTS,
    is_graded: bool = False,
) -> CertifiedThreshold | None:
    """Return the loosest certified threshold of `grid`, or None if none passes.

    `scores` and `losses` (0..1) are (audits,), oldest first: independent draws that were used neither to
    train the specialist nor to choose `grid`. With probability >= 1 - delta the expected loss among
    requests with score >= threshold is at most `alpha`. `is_graded` says that losses may lie between
    0 and 1 although none here does: which p-value is taken must not depend on the losses seen.
    """
    points = audits_accepted(scores, losses, grid, is_graded=is_graded)
    p_values = [p_value(point, alpha, delta / starts) for point in points]
    passed = [i for i, is_passed in enumerate(reject_hypotheses(p_values, delta, starts)) if is_passed]
    if not passed:
        return None
    point = points[passed[-1]]
    return CertifiedThreshold(
        threshold=point.threshold,
        accepted=point.count,
        losses=point.losses,
        coverage=point.count / len(scores),
    )


class AcceptedAudits(msgspec.Struct, frozen=True):
    """The number of audits that one threshold accepts, and the sum of their losses."""

    threshold: float
    count: int
    losses: float
    graded: Sequence[float] | None = None
    """Each loss, in an order that no loss has chosen; None if all losses are 0 or 1."""


def audits_accepted(
    scores: Sequence[float], losses: Sequence[float], grid: Sequence[float], *, is_graded: bool = False
) -> list[AcceptedAudits]:
    """Return the audits that each threshold accepts, strict to loose."""
    is_binary = not is_graded and all(loss in (0.0, 1.0) for loss in losses)
    spread = [] if is_binary else [(scores[place], losses[place]) for place in spread_evenly(len(losses))]
    pairs = sorted(zip(scores, losses, strict=True), key=lambda pair: -pair[0])
    points, count, total = [], 0, 0.0
    for threshold in sorted(grid, reverse=True):
        while count < len(pairs) and pairs[count][0] >= threshold:
            total += pairs[count][1]
            count += 1
        graded = None if is_binary else [loss for score, loss in spread if score >= threshold]
        points.append(AcceptedAudits(threshold, count, total, graded))
    return points


def p_value(point: AcceptedAudits, alpha: float, level: float) -> float:
    """Return the probability of so few losses if the risk were above `alpha`.

    Exact binomial for 0/1 losses, else won by bets that aim at `level`; valid at every other one, too.
    """
    if point.graded is not None:
        return betting_p_value(point.graded, alpha, level)
    return binomial_cdf(round(point.losses), point.count, alpha) if point.count else 1.0


def reject_hypotheses(p_values: Sequence[float], delta: float, starts: int = STARTS) -> list[bool]:
    """Return for each hypothesis whether the fallback procedure rejects it, at family-wise error `delta`.

    Each of `starts` evenly spaced hypotheses owns delta / starts. A rejected hypothesis passes
    its whole level on to the next one, so a chain that reaches the next start grows; the level of
    a hypothesis that is not rejected is lost. Valid under any dependence, and never weaker than
    separate chains. Source: Wiens 2003, "A fixed sequence Bonferroni procedure".
    """
    own_level = {start * len(p_values) // starts for start in range(starts)}
    level, decisions = 0.0, []
    for i, p in enumerate(p_values):
        if i in own_level:
            level += delta / starts
        is_rejected = level > 0.0 and p <= level
        decisions.append(is_rejected)
        if not is_rejected:
            level = 0.0
    return decisions
