"""Planted errors come first, whatever a student was not asked for comes not at all."""

from __future__ import annotations

from pathlib import Path

import msgspec

from gateway.distill.recipes import head
from gateway.distill.suspects import find_suspects
from tests.distill.conftest import ANSWERS, ToyEncoder, bench_of, harvested, tickets


def test_planted_errors_come_first(encoder: ToyEncoder, tmp_path: Path) -> None:
    rows = tickets(300, held_out_share=0.0)
    planted = {rows[number].request_id for number in range(0, 300, 30)}
    wrong = [
        msgspec.structs.replace(row, answer=ANSWERS[(ANSWERS.index(row.answer) + 1) % 3])
        if row.request_id in planted
        else row
        for row in rows
    ]

    suspects = find_suspects(wrong, head.create(head.Config()), bench_of(encoder, tmp_path))

    first = suspects[: len(planted)]
    assert {suspect.row.request_id for suspect in first} == planted
    right = {row.request_id: row.answer for row in rows}
    assert all(suspect.alternative == right[suspect.row.request_id] for suspect in first)


def test_evidence_is_not_looked_at(encoder: ToyEncoder, tmp_path: Path) -> None:
    """Students are trained for this, and nothing is trained on evidence."""
    rows = tickets(100, held_out_share=1.0)

    assert find_suspects(rows, head.create(head.Config()), bench_of(encoder, tmp_path)) == []


def test_where_answers_are_no_labels_the_drafts_disagree(encoder: ToyEncoder, tmp_path: Path) -> None:
    rows = [harvested(f"text {number}", f"answer {number}") for number in range(20)]
    rows[3] = msgspec.structs.replace(rows[3], draft="another", draft_score=0.4)
    rows[5] = msgspec.structs.replace(rows[5], draft="yet another", draft_score=0.9)
    rows[7] = msgspec.structs.replace(rows[7], draft="answer 7", draft_score=0.9)

    suspects = find_suspects(rows, head.create(head.Config()), bench_of(encoder, tmp_path))

    assert [(each.row.text, each.alternative) for each in suspects] == [
        ("text 5", "yet another"),
        ("text 3", "another"),
    ]


def test_a_text_that_cannot_be_read_is_no_suspect(encoder: ToyEncoder, tmp_path: Path) -> None:
    rows = [*tickets(60, held_out_share=0.0), harvested("", "refund")]

    suspects = find_suspects(rows, head.create(head.Config()), bench_of(encoder, tmp_path))

    assert all(suspect.row.text for suspect in suspects)
