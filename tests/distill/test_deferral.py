from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import pytest

from gateway.confidence.deferral import Scorer
from gateway.core import Draft, Trace
from gateway.distill.base import EvalResult
from gateway.distill.deferral import fit_deferral

SCORER = Scorer()


def draft(margin: float, similarity: float | None = 0.5, text: str = "x") -> Draft:
    """Return a draft of two tokens, the surer of which has a lead of `margin`."""
    return Draft(
        text=text,
        score=0.5,
        task="t",
        version=1,
        evidence={} if similarity is None else {"similarity": similarity},
        trace=Trace((-0.2, -1.0 / (1.0 + margin)), (margin, margin + 1.0), (0.5, 0.5)),
    )


def told(count: int = 300, *, noise: float = 0.1, seed: int = 1) -> EvalResult:
    """Return drafts which the margin tells apart, right from wrong, and whose scores say nothing."""
    draw = random.Random(seed)
    drafts, losses = [], []
    for _ in range(count):
        is_right = draw.random() < 0.7
        drafts.append(draft(draw.uniform(2, 6) if is_right else draw.uniform(0, 3), draw.random()))
        losses.append(float(is_right == (draw.random() < noise)))
    return EvalResult([draw.random() for _ in drafts], losses, drafts)


def ranking(scores: Sequence[float], losses: Sequence[float]) -> float:
    """Return the chance that a right draft has the higher score of a right and a wrong one."""
    pairs = [
        (right > wrong) + (right == wrong) / 2
        for right, right_loss in zip(scores, losses, strict=True)
        for wrong, wrong_loss in zip(scores, losses, strict=True)
        if right_loss < wrong_loss
    ]
    return sum(pairs) / len(pairs)


def test_signals_which_rank_better_than_the_runtime_become_a_head() -> None:
    validation = told()

    head, rescored = fit_deferral(validation, SCORER, 0)

    assert head is not None
    assert head.weights["min_margin"] > 0
    assert ranking(rescored.scores, rescored.losses) > ranking(validation.scores, validation.losses) + 0.2
    assert (rescored.losses, rescored.drafts) == (validation.losses, validation.drafts)


def test_signals_which_rank_no_better_are_left_alone() -> None:
    """A runtime which knows the truth needs no head."""
    validation = told()
    knowing = msgspec.structs.replace(validation, scores=[1.0 - loss for loss in validation.losses])

    assert fit_deferral(knowing, SCORER, 0) == (None, knowing)


def test_a_head_scores_as_the_regression_which_it_was_made_from() -> None:
    """Its weights are those of the signals as they are: what the regression did to their scale is undone."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    validation = told()
    drafts = [one for one in validation.drafts if one]
    head, _ = fit_deferral(validation, SCORER, 0)
    assert head is not None

    signals = [[SCORER.read_signals(one)[name] for name in head.weights] for one in drafts]
    right = [loss < 0.5 for loss in validation.losses]
    regression = make_pipeline(StandardScaler(), LogisticRegression()).fit(signals, right)

    expected = regression.predict_proba(signals)[:, 1].tolist()
    assert [SCORER.score_draft(one, head) for one in drafts] == pytest.approx(expected, abs=1e-9)


def test_of_graded_losses_a_head_learns_the_mean() -> None:
    """Signals that tell small losses from none count, although all of these are below a half."""
    draw = random.Random(5)
    margins = [draw.uniform(0, 4) for _ in range(400)]
    losses = [0.4 if margin < 2 else 0.02 for margin in margins]
    graded = EvalResult([draw.random() for _ in margins], losses, [draft(margin) for margin in margins])

    head, rescored = fit_deferral(graded, SCORER, 0)

    assert head is not None
    unsure = [score for score, loss in zip(rescored.scores, losses, strict=True) if loss == 0.4]
    sure = [score for score, loss in zip(rescored.scores, losses, strict=True) if loss < 0.4]
    assert 1 - sum(unsure) / len(unsure) == pytest.approx(0.4, abs=0.06)
    assert 1 - sum(sure) / len(sure) == pytest.approx(0.02, abs=0.06)


def test_no_draft_is_scored_by_a_head_which_has_seen_it() -> None:
    """Its own loss may change every other score but not its own."""
    validation = told()
    flipped = [1.0 - loss if row == 7 else loss for row, loss in enumerate(validation.losses)]

    before = fit_deferral(validation, SCORER, 0)[1].scores
    after = fit_deferral(msgspec.structs.replace(validation, losses=flipped), SCORER, 0)[1].scores

    changed = [row for row in range(len(before)) if before[row] != after[row]]
    assert 7 not in changed
    assert len(changed) > len(before) / 2


def test_the_scores_of_a_rehearsal_promise_what_the_head_keeps() -> None:
    """On drafts which it has never seen it ranks as the rehearsal said."""
    head, rescored = fit_deferral(told(600), SCORER, 0)
    fresh = told(600, seed=2)

    kept = ranking([SCORER.score_draft(one, head) for one in fresh.drafts if one], fresh.losses)

    assert kept == pytest.approx(ranking(rescored.scores, rescored.losses), abs=0.06)


def test_the_same_rehearsal_and_seed_give_the_same_head() -> None:
    assert fit_deferral(told(), SCORER, 3) == fit_deferral(told(), SCORER, 3)


def test_refused_drafts_keep_the_lowest_score_and_teach_nothing() -> None:
    validation = told()
    refused = EvalResult([*validation.scores, 0.0], [*validation.losses, 1.0], [*validation.drafts, None])

    head, rescored = fit_deferral(refused, SCORER, 0)

    assert rescored.scores[-1] == 0.0
    assert head == fit_deferral(validation, SCORER, 0)[0]


def test_a_signal_which_one_draft_lacks_has_no_weight() -> None:
    """Else a draft without it could never be served."""
    validation = told()
    drafts = [draft(1.0, similarity=None), *validation.drafts[1:]]

    head, _ = fit_deferral(msgspec.structs.replace(validation, drafts=drafts), SCORER, 0)

    assert head is not None
    assert "knn_distance" not in head.weights
    assert "knn_distance" in (fit_deferral(validation, SCORER, 0)[0] or head).weights


def test_a_signal_which_says_the_same_of_all_has_no_weight() -> None:
    head, _ = fit_deferral(told(), SCORER, 0)
    assert head is not None
    assert "validity" not in head.weights


def _without_drafts(told: EvalResult) -> EvalResult:
    return EvalResult(told.scores, told.losses)


def _all_refused(told: EvalResult) -> EvalResult:
    return msgspec.structs.replace(told, drafts=[None] * len(told.drafts))


def _all_right(told: EvalResult) -> EvalResult:
    return msgspec.structs.replace(told, losses=[0.0] * len(told.losses))


def _hardly_wrong(told: EvalResult) -> EvalResult:
    return msgspec.structs.replace(told, losses=[1.0] * 7 + [0.0] * (len(told.losses) - 7))


def _alike(told: EvalResult) -> EvalResult:
    return msgspec.structs.replace(told, drafts=[draft(1.0)] * len(told.drafts))


@pytest.mark.parametrize(
    "validation",
    [
        told(79),
        _without_drafts(told()),
        _all_refused(told()),
        _all_right(told()),
        _hardly_wrong(told()),
        _alike(told()),
        EvalResult([], []),
    ],
)
def test_too_little_to_learn_from_leaves_the_runtimes_own_scores(validation: EvalResult) -> None:
    assert fit_deferral(validation, SCORER, 0) == (None, validation)
