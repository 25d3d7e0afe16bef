"""The novelty floor: what the evidence says of texts that are strange to a version; how losses are told."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.confidence.judging import describe_losses, select_evidence
from gateway.core import Certificate, RiskTarget
from tests.support.builders import scored_audit


def floor_of(similarities: Sequence[float | None]) -> float:
    audits = [scored_audit(n, similarity=similarity) for n, similarity in enumerate(similarities)]
    certificate = Certificate(stratum="new", target=RiskTarget())
    return select_evidence(audits, certificate, float(len(audits)), 10_000).novelty_floor


def test_a_hundredth_of_the_traffic_lies_below_the_floor() -> None:
    assert floor_of([n / 1_000 for n in range(1_000)]) == 0.01


def test_what_a_first_stage_drafts_is_familiar() -> None:
    """Of the texts that it leaves over, the strangest are more than a hundredth: they set no lower floor."""
    left_over = [n / 200 for n in range(200)]

    assert floor_of([*[None] * 800, *left_over]) == left_over[10]


def test_where_no_text_has_a_similarity_there_is_no_floor() -> None:
    assert floor_of([None] * 100) == -1.0


def test_the_strangest_texts_alone_are_no_reason_to_refuse_them_all() -> None:
    assert floor_of([*[None] * 999, 0.3]) == 0.3


def test_graded_losses_are_told_as_a_mean() -> None:
    assert describe_losses(RiskTarget(), 300, 0.0) == "0 of them wrong"
    assert describe_losses(RiskTarget(), 300, 3.0) == "3 of them wrong"
    graded = RiskTarget(agreement="set_f1")
    assert describe_losses(graded, 300, 6.33333) == "with a mean loss of 2.11%"
    # Six answers that are half wrong are not three that are wrong.
    assert describe_losses(graded, 300, 3.0) == "with a mean loss of 1.00%"
