"""Whether a first stage pays, and where: measured on lessons that neither stage has seen.

Nothing here looks at evidence. The certificate is earned by both stages together afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from gateway.distill.base import EvalResult
from gateway.specialists.runtimes.head.first_stage import StageRule

_SHARES = tuple(share / 20 for share in range(19, 3, -1))
"""Shares of the texts that are tried, the largest first: below a fifth a stage is not worth its memory."""
_LEAST_MARGIN = 0.93
"""Whatever it costs no right answer on the task's own texts, a stage that is less sure answers texts of
other tasks, too: a head of SNIPS' seven intents served 42 % of CLINC150's texts instead of 35 %."""
_UNKNOWN_SHARE = 0.05
"""Of the answers that are sure enough, those with the fewest known n-grams stay with the encoder:
what a text of another task is recognized by, as the novelty floor recognizes it by its embedding."""
FEWEST = 250
"""Texts to rehearse: of 100 of Banking77 a plan lost 10 points of coverage that it had not seen."""
_WRONG_BY_CHANCE = 1
_COVERAGE_BY_CHANCE = 0.005
"""Losses that are none: an answer or two of some hundred, and a reckoning with one digit."""
_KNOTS = 9
_LEAST_DOUBT = 1e-4


class Rehearsal(msgspec.Struct, frozen=True, kw_only=True):
    """How both stages did on the same lessons; (n,) each.

    `worth` is the lead that the second stage gives the first one's answer over its own best other:
    negative where it would say something else.
    """

    margins: NDArray[np.float64]
    known: NDArray[np.float64]
    losses: NDArray[np.float64]
    worth: NDArray[np.float64]
    second_margins: NDArray[np.float64]
    second_losses: NDArray[np.float64]


class StagePlan(msgspec.Struct, frozen=True):
    """The rule of a first stage that pays, and the share of the rehearsed texts that it answered."""

    rule: StageRule
    share: float


def plan_first_stage(rehearsal: Rehearsal, alphas: Sequence[float]) -> StagePlan | None:
    """Return the plan that answers the most texts at no loss, None if there is none.

    No loss, but by chance: no fewer right answers in all, and no less coverage to expect at each of
    `alphas` and at its half, ranked by the scores of both stages together.
    """
    if len(rehearsal.margins) < FEWEST:
        return None
    expected = expect_losses(rehearsal)
    alone = EvalResult(expected.second_margins.tolist(), expected.second_losses.tolist())
    wanted = {risk: alone.coverage_at(risk) for alpha in alphas for risk in (alpha, alpha / 2)}
    for share in _SHARES:
        rule, answered = _rule_for(rehearsal, share)
        if rule.least_margin < _LEAST_MARGIN:
            continue
        both = compose(expected, rule, answered)
        lost = max(coverage - both.coverage_at(risk) for risk, coverage in wanted.items())
        more_wrong = (rehearsal.losses - rehearsal.second_losses)[answered].sum()
        if lost <= _COVERAGE_BY_CHANCE and more_wrong <= _WRONG_BY_CHANCE:
            return StagePlan(rule, float(answered.mean()))
    return None


def expect_losses(rehearsal: Rehearsal) -> Rehearsal:
    """Return `rehearsal` with the losses to expect by what the second stage thinks of each answer.

    The few that a first stage gets wrong stand among its surest answers, where a test of little risk
    begins: of CLINC150's it took 1 to 10 points of what 1,050 audits certify, and coverage at alpha and its
    half, counted in the wrong answers of 900 texts, fell by one.
    """
    doubt = _fit_doubt(rehearsal.second_margins, rehearsal.second_losses)
    second = doubt(rehearsal.second_margins)
    # Where it would say something else, the first stage's answer is right only if it is wrong.
    first = np.where(rehearsal.worth > 0, doubt(rehearsal.worth), 1 - second)
    return msgspec.structs.replace(rehearsal, losses=first, second_losses=second)


def compose(rehearsal: Rehearsal, rule: StageRule, answered: NDArray[np.bool_]) -> EvalResult:
    """Return how both stages do together, if the first one answers what is `answered`, (n,)."""
    return EvalResult(
        np.where(answered, rule.score_all(rehearsal.margins), rehearsal.second_margins).tolist(),
        np.where(answered, rehearsal.losses, rehearsal.second_losses).tolist(),
    )


def _rule_for(rehearsal: Rehearsal, share: float) -> tuple[StageRule, NDArray[np.bool_]]:
    from sklearn.isotonic import IsotonicRegression

    least_margin = float(np.quantile(rehearsal.margins, 1 - share))
    sure = rehearsal.margins >= least_margin
    least_known = float(np.quantile(rehearsal.known[sure], _UNKNOWN_SHARE))
    answered = sure & (rehearsal.known >= least_known)
    # The second stage's own opinion of an answer is a far denser target than whether it was right:
    # a few hundred rehearsed texts hold a handful of wrong ones.
    worth: Any = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
    worth.fit(rehearsal.margins[answered], rehearsal.worth[answered])
    margins = np.quantile(rehearsal.margins[answered], np.linspace(0, 1, _KNOTS))
    rule = StageRule(
        least_margin=least_margin,
        least_known=least_known,
        margins=margins,
        scores=worth.predict(margins),
    )
    return rule, answered


def _fit_doubt(
    margins: NDArray[np.float64], losses: NDArray[np.float64]
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return how often the answer of a margin is wrong, (n,) to (n,): a logistic function of its logit."""
    from sklearn.linear_model import LogisticRegression

    # One wrong and one right answer more, of no margin at all: there may be none of a kind.
    logits, wrong = np.append(_logit(margins), [0.0, 0.0]), np.append(losses > 0, [True, False])
    model = LogisticRegression().fit(logits[:, None], wrong)
    return lambda asked: np.asarray(model.predict_proba(_logit(asked)[:, None])[:, 1])


def _logit(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.clip(margins, _LEAST_DOUBT, 1 - _LEAST_DOUBT)
    return np.asarray(np.log(inside / (1 - inside)))
