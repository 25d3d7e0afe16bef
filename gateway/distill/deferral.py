"""Fitting a version's deferral head: which confidence signals to trust, and how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from gateway.confidence.deferral import Scorer
from gateway.core import Deferral
from gateway.distill.base import EvalResult

_FEWEST_ROWS = 80
_FEWEST_OF_A_KIND = 8
"""Right and wrong drafts each: fewer would fit one odd answer."""
_FOLDS = 5


def fit_deferral(validation: EvalResult, scorer: Scorer, seed: int) -> tuple[Deferral | None, EvalResult]:
    """Return the deferral head for `validation`'s drafts, and the rehearsal scored by such heads.

    Those scores are cross-fitted: each draft is scored by a head that has not seen it, so that
    they estimate how the head will do. No head (and the runtime's own scores) when there are no
    drafts, too few of them, or signals that do not rank better than those.
    """
    kept = [i for i, draft in enumerate(validation.drafts) if draft is not None]
    losses = np.array([validation.losses[i] for i in kept])
    if len(kept) < _FEWEST_ROWS or min(losses.sum(), (1.0 - losses).sum()) < _FEWEST_OF_A_KIND:
        return None, validation
    read = [scorer.read_signals(draft) for i in kept if (draft := validation.drafts[i])]
    names = _useful(read)
    own = np.array([validation.scores[i] for i in kept])
    if not names:
        return None, validation
    signals = np.array([[values[name] for name in names] for values in read])
    crossed = _crossed(signals, losses, seed)
    if _auroc(crossed, losses) <= _auroc(own, losses):
        return None, validation
    scores = np.zeros(len(validation.scores))
    scores[kept] = crossed
    return _head(names, _fit(signals, losses)), msgspec.structs.replace(validation, scores=scores.tolist())


def _useful(read: Sequence[Mapping[str, float]]) -> list[str]:
    """Return the signals that every draft has and that are not all the same."""
    common = set.intersection(*(set(values) for values in read))
    return sorted(name for name in common if len({values[name] for values in read}) > 1)


def _crossed(signals: Any, losses: Any, seed: int) -> Any:
    fold = np.random.default_rng(seed).permutation(len(losses)) % _FOLDS
    scores = np.zeros(len(losses))
    for number in range(_FOLDS):
        seen, asked = fold != number, fold == number
        # A fold may by chance hold all drafts of one kind.
        if (losses[seen] < 1.0).any() and (losses[seen] > 0.0).any():
            scores[asked] = _fit(signals[seen], losses[seen]).predict_proba(signals[asked])[:, 1]
    return scores


def _fit(signals: Any, losses: Any) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scaler, logistic = StandardScaler().fit(signals), LogisticRegression()
    drafts, right, weights = _split(losses)
    logistic.fit(scaler.transform(signals)[drafts], right, weights)
    return make_pipeline(scaler, logistic)


def _split(losses: Any) -> tuple[Any, Any, Any]:
    """Return drafts, whether each is right, and weights: with a loss of a third two thirds of one are right.

    So the head learns the expected loss, which a certificate is about, and not whether it is below a half.
    """
    drafts = np.repeat(np.arange(len(losses)), 2)
    kinds = np.tile([True, False], len(losses))
    weights = np.where(kinds, 1.0 - losses[drafts], losses[drafts])
    return drafts[weights > 0.0], kinds[weights > 0.0], weights[weights > 0.0]


def _head(names: Sequence[str], model: Any) -> Deferral:
    """Return the pipeline as weights of the signals as they are."""
    scaler, logistic = model[0], model[1]
    weights = logistic.coef_[0] / scaler.scale_
    bias = float(logistic.intercept_[0] - (weights * scaler.mean_).sum())
    return Deferral(bias, dict(zip(names, weights.tolist(), strict=True)))


def _auroc(scores: Any, losses: Any) -> float:
    from sklearn.metrics import roc_auc_score

    drafts, right, weights = _split(losses)
    return float(roc_auc_score(right, scores[drafts], sample_weight=weights))
