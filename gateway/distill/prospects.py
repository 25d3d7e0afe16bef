"""What an attempt to certify can expect, before it is made; never judged by the losses in its evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from gateway.confidence.confirmation import expected_audits
from gateway.confidence.judging import ScoredAudit
from gateway.confidence.learn_then_test import STARTS, THRESHOLDS
from gateway.confidence.sample_size import (
    MOST_AUDITS,
    audits_needed,
    audits_to_settle,
    power_to_certify,
)
from gateway.confidence.spending import delta_for_attempt
from gateway.confidence.units import DAY_S
from gateway.core import Certificate, Deferral, Footprint, RiskTarget, Stratum
from gateway.distill.base import Config, EvalResult, laplace_mean
from gateway.specialists.base import Runtime
from gateway.specialists.learnt import LearntTexts

FloatArray = npt.NDArray[np.float64]

_POWER_AT_ONCE = 0.9
"""Of the only test of a hypothesis on rows that are all there. Other tests are made at less: they are
repeated when they fail."""
_QUANTILES, _LEAST_QUANTILE = 41, 0.2
"""Thresholds made of validation scores accept from a fifth to all of the answers."""
_MISSED_COVERAGE = 0.05
_EASIER: dict[Stratum, float] = {"learnt": 10.0}
"""Validation asks what a student has not learnt; what it has, it repeats."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A published version at work, and how a student of most of its lessons did on the rest."""

    version: int
    runtime: Runtime
    learnt: LearntTexts
    deferral: Deferral | None
    validation: EvalResult
    footprint: Footprint | None = None
    """What it takes; None if it was not measured."""
    is_imported: bool = False
    """Whether imported rows taught it, for the most part."""


def choose_hypothesis(candidate: Candidate, certificate: Certificate) -> float | None:
    """Return the one threshold that live audits confirm soonest; None where imported rows did not teach.

    Validation on a share of the imported rows chooses it, before any live audit is looked at, so that all
    of delta goes to one test. Where that fails, later attempts are those of any other version.
    """
    if not candidate.is_imported or certificate.attempts or certificate.stage != "shadow":
        return None
    scores, target = candidate.validation.scores, certificate.target
    most, soonest, best = most_to_confirm(target), math.inf, None
    for threshold in validation_quantiles(scores) if scores else ():
        error = _expected_error(candidate, certificate, threshold)
        audits = expected_audits(target.alpha, target.delta, error)
        requests = audits * len(scores) / sum(score >= threshold for score in scores)
        if audits <= most and requests <= soonest:
            soonest, best = requests, threshold
    return best


def audits_at_once(candidate: Candidate, certificate: Certificate, threshold: float) -> int:
    """Return how many rows above `threshold` a single test of them needs.

    With 45 none may be wrong at 5 %, with 114 at 2 %. Looked at as they come (`confidence/confirmation.py`),
    56 and 143 live audits do, and more survive an error.
    """
    error, target = _expected_error(candidate, certificate, threshold), certificate.target
    return audits_needed(target.alpha, target.delta, error, _POWER_AT_ONCE) or MOST_AUDITS


def most_to_confirm(target: RiskTarget) -> int:
    """Return the accepted audits after which a hypothesis that they leave open is given up."""
    return audits_to_settle(target.alpha, target.delta)


def choose_grid(
    candidate: Candidate, certificate: Certificate, audits: int, min_power: float
) -> Sequence[float]:
    """Return the thresholds to test: the fixed ones, or quantiles of validation scores where these miss much.

    A tagger taught 3,000 headlines scores 82 % of its answers above the strictest fixed one, so that none
    can pass; where the fixed ones reach, quantiles cost about a point (SNIPS at 2 %). Chosen by
    validation and the number of audits, never by what the audits say.
    """
    if not candidate.validation.scores:
        return THRESHOLDS
    quantiles = validation_quantiles(candidate.validation.scores)
    fixed, other = (
        _coverage_in_validation(candidate, certificate, grid, audits, min_power)
        for grid in (THRESHOLDS, quantiles)
    )
    return quantiles if other > fixed + _MISSED_COVERAGE else THRESHOLDS


def predict_coverage(
    candidate: Candidate,
    certificate: Certificate,
    audits: Sequence[ScoredAudit],
    min_power: float,
    grid: Sequence[float],
) -> float:
    """Return the share of requests that the next attempt at `grid` can expect to certify, 0 without hope.

    How often an answer of a score is wrong is taken from validation, how often such scores come from how
    the candidate scores the audits; what the audits say of right and wrong is not looked at: an attempt
    chosen by that would not be independent of it. Validation alone would say too little once a version
    serves: its rows are then what that version left to the teacher, the hard ones.
    """
    alpha, level = certificate.target.alpha, expected_level(certificate)
    validation = candidate.validation.by_agreement(certificate.target.agreement)
    scores = np.sort([audit.score for audit in audits if audit.is_servable])[::-1]
    errors = np.cumsum(errors_by_score(validation, scores)) / _EASIER.get(certificate.stratum, 1.0)
    best = 0.0
    for threshold in grid:
        count = int(np.searchsorted(-scores, -threshold, side="right"))
        seen = sum(score >= threshold for score in validation.scores)
        error = laplace_mean(seen * errors[count - 1] / count if count else 0.0, seen)
        if power_to_certify(count, alpha, level, error) >= min_power:
            best = count / len(audits)
    return best


def errors_by_score(validation: EvalResult, scores: FloatArray) -> FloatArray:
    """Return how often an answer of each of `scores` is wrong, by validation: the surer, the less often."""
    if not validation.scores:
        return np.ones(len(scores))
    # Imported with the module it would double the learner's start, and take 43 MB.
    from scipy.optimize import isotonic_regression

    order = np.argsort(validation.scores)
    ranked, losses = np.array(validation.scores)[order], np.array(validation.losses)[order]
    return np.interp(scores, ranked, isotonic_regression(losses, increasing=False).x)


def validation_quantiles(scores: Sequence[float]) -> tuple[float, ...]:
    """Return the thresholds that accept evenly spaced shares of `scores`, strict to loose."""
    ranked = sorted(scores, reverse=True)
    step = (1.0 - _LEAST_QUANTILE) / (_QUANTILES - 1)
    places = [round((_LEAST_QUANTILE + step * number) * len(ranked)) - 1 for number in range(_QUANTILES)]
    return tuple(sorted({ranked[place] for place in places if place >= 0}, reverse=True))


def _coverage_in_validation(
    candidate: Candidate, certificate: Certificate, grid: Sequence[float], audits: int, min_power: float
) -> float:
    """Return the share that `audits` scored as in validation can expect to certify."""
    level, scores = expected_level(certificate), candidate.validation.scores
    best = 0.0
    for threshold in grid:
        share = sum(score >= threshold for score in scores) / len(scores)
        error = _expected_error(candidate, certificate, threshold)
        if power_to_certify(int(share * audits), certificate.target.alpha, level, error) >= min_power:
            best = share
    return best


def least_coverage(certificate: Certificate, audits: int, config: Config) -> float:
    """Return the share of the requests that an attempt must promise: less once many audits came."""
    level = expected_level(certificate)
    is_patient = audits < _audits_before_less(certificate.target.alpha, level, config)
    return config.first_coverage if is_patient else config.first_coverage / 2


def describe_outlook(
    candidate: Candidate, old: Certificate, audits: int, config: Config
) -> tuple[int | None, str]:
    """Return how many audits the next attempt still needs, and the same in words."""
    alpha, level = old.target.alpha, expected_level(old)
    coverage = least_coverage(old, audits, config)
    validation = candidate.validation.by_agreement(old.target.agreement)
    error = validation.error_at(coverage) / _EASIER.get(old.stratum, 1.0)
    needed = audits_needed(alpha, level, error, config.min_power)
    if needed is not None and math.ceil(needed / coverage) > audits:
        missing = math.ceil(needed / coverage) - audits
        return missing, f"a certificate needs about {missing} more audits"
    if needed is not None:
        return None, "enough audits, but no test has passed: waits for more of them or a better version"
    later = max(0, _audits_before_less(alpha, level, config) - audits)
    wrong = f"in validation {error:.1%} of the surest {coverage:.0%} were wrong, {alpha:.1%} are allowed"
    if later:
        return later, f"{wrong}: needs more training rows, or {later} more audits for a smaller share"
    return None, f"{wrong}: needs more training rows"


def renewal_share(certificate: Certificate, audits: Sequence[ScoredAudit]) -> float:
    """Return the share of traffic to audit so that the window can renew the certificate.

    The traffic is estimated from the audits themselves: each stands for 1 / propensity requests. Where
    the same threshold would need more audits than settle a certificate, a stricter one is renewed.
    """
    recent = [audit for audit in audits if certificate.evidence_from <= audit.at <= certificate.evidence_to]
    days = max(1.0, (certificate.evidence_to - certificate.evidence_from) / DAY_S)
    per_day = sum(1.0 / audit.propensity for audit in recent if audit.propensity) / days
    error = laplace_mean(certificate.losses, certificate.accepted)
    target = certificate.target
    enough = audits_to_settle(target.alpha, target.delta)
    needed = audits_needed(target.alpha, expected_level(certificate), error) or enough
    if not per_day or not certificate.coverage:
        return 0.0
    return min(1.0, min(needed, enough) / certificate.coverage / (per_day * certificate.target.days))


def expected_level(certificate: Certificate) -> float:
    """Return the level that a chain of the next attempt can expect: not all of it, nor its share alone.

    Power is reckoned by the exact binomial test; that of graded losses has about as much, or more.
    """
    return delta_for_attempt(certificate.target.delta, certificate.attempts + 1) * 2 / STARTS


def _expected_error(candidate: Candidate, certificate: Certificate, threshold: float) -> float:
    validation = candidate.validation.by_agreement(certificate.target.agreement)
    return validation.error_above(threshold) / _EASIER.get(certificate.stratum, 1.0)


def _audits_before_less(alpha: float, level: float, config: Config) -> int:
    fewest = audits_needed(alpha, level, 0.0, config.min_power) or 0
    return math.ceil(config.halve_coverage_after * fewest / config.first_coverage)
