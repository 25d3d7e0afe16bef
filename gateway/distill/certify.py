"""From a version's answers on the evidence to what it is allowed to do."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from gateway.confidence.learn_then_test import THRESHOLDS, AcceptedAudits, audits_accepted, certify_threshold
from gateway.confidence.sample_size import audits_needed
from gateway.core import Deferral, Standing
from gateway.distill.base import EvalResult, RiskTarget, laplace_mean


def certify_version(
    old: Standing,
    version: int,
    scored: EvalResult,
    promise: RiskTarget,
    level: float,
    *,
    deferral: Deferral | None = None,
) -> Standing:
    """Return the standing after an attempt to certify `version` at error `level`.

    A live version stays unless its successor is certified for more of the traffic, or the policy
    has become stricter; whoever is not certified keeps its stage and learns how many audits
    are missing.
    """
    certified = certify_threshold(scored.scores, scored.losses, promise.alpha, level)
    is_laxer = old.alpha > promise.alpha or old.delta > promise.delta
    if certified and (not old.serves or is_laxer or certified.coverage > old.coverage):
        return msgspec.structs.replace(
            old,
            stage="live",
            version=version,
            threshold=certified.threshold,
            tentative=None,
            alpha=promise.alpha,
            delta=promise.delta,
            audits=len(scored.scores),
            audits_missing=None,
            coverage=certified.coverage,
            deferral=deferral,
            note=f"certified on {certified.accepted} accepted audits, {certified.losses:g} of them wrong",
        )
    return old if old.serves else shadow_version(old, version, scored, promise, level, deferral=deferral)


def shadow_version(
    old: Standing,
    version: int,
    scored: EvalResult,
    promise: RiskTarget,
    level: float,
    *,
    deferral: Deferral | None = None,
) -> Standing:
    """Return the standing of `version` without a certificate.

    `tentative` is the loosest threshold at which it seems good enough, for reports only.
    """
    points = [point for point in audits_accepted(scored.scores, scored.losses, THRESHOLDS) if point.count]
    passing = [point for point in points if point.losses <= promise.alpha * point.count]
    best = passing[-1] if passing else None
    missing = _audits_missing(passing, len(scored.scores), promise.alpha, level)
    return msgspec.structs.replace(
        old,
        version=version,
        threshold=None,
        tentative=best.threshold if best else None,
        alpha=promise.alpha,
        delta=promise.delta,
        audits=len(scored.scores),
        audits_missing=missing,
        coverage=best.count / len(scored.scores) if best else 0.0,
        deferral=deferral,
        note=_shadow_note(missing, has_hope=best is not None),
    )


def _shadow_note(missing: int, *, has_hope: bool) -> str:
    if not has_hope:
        return f"errs above alpha at every threshold; at least {missing} more audits needed"
    if missing:
        return f"about {missing} more audits needed"
    return "audits suffice; waits for a student which is surer of them"


def _audits_missing(points: Sequence[AcceptedAudits], audits: int, alpha: float, level: float) -> int:
    """Return how many more held-out rows would probably do at the most promising threshold.

    Taken from the error seen so far; without any hope, the fewest that could ever do.
    """
    totals = [
        math.ceil(needed * audits / point.count)
        for point in points
        if (needed := audits_needed(alpha, level, laplace_mean(point.losses, point.count)))
    ]
    fewest = audits_needed(alpha, level, 0.0) or 0
    return max(0, min(totals, default=audits + fewest) - audits)
