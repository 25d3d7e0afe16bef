from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from gateway.demo.board import Board
from gateway.demo.replay import Served

LIVE = {
    "stage": "live",
    "version": 2,
    "alpha": 0.02,
    "delta": 0.1,
    "audits": 321,
    "audits_missing": None,
}


def served(decision: str, *, agrees: bool = True, latency_ms: float = 10.0) -> Served:
    return Served(
        number=0,
        served_by="x",
        decision=decision,
        answer="x",
        agrees=agrees,
        latency_ms=latency_ms,
    )


@pytest.fixture
def board() -> Board:
    return Board("list price of x")


def figure(board: Board, name: str) -> str:
    return next(value for key, value in board.list_figures() if key.startswith(name))


def test_a_fresh_board_can_be_shown(board: Board) -> None:
    assert (board.recent_escalation, board.recent_agreement) == (0.0, None)
    assert figure(board, "certificate") == "none yet, the teacher answers everything"
    assert shown(board)


def test_escalation_is_everything_that_the_teacher_answered(board: Board) -> None:
    for decision in ("local", "audit", "escalated", "bypass"):
        board.add_request(served(decision))

    assert board.recent_escalation == 0.75
    assert board.served == 4


def test_agreement_counts_local_answers_only(board: Board) -> None:
    board.add_request(served("local"))
    board.add_request(served("local", agrees=False))
    board.add_request(served("escalated", agrees=False))

    assert board.recent_agreement == 0.5


def test_local_latencies_and_the_teachers_are_separate(board: Board) -> None:
    for latency_ms in (1.0, 2.0, 90.0):
        board.add_request(served("local", latency_ms=latency_ms))
    board.add_request(served("audit", latency_ms=250.0))

    assert figure(board, "median") == "local 2 ms, teacher 250 ms (simulated)"


def test_savings_come_from_the_gateway_not_from_the_replay(board: Board) -> None:
    board.status = {"costs": {"usd": 1.5, "counterfactual_usd": 2.0}}

    assert figure(board, "saved") == "$0.5000 of $2.0000 (list price of x)"


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (LIVE, "v2: at most 2% differ, 90% sure (321 audits)"),
        ({**LIVE, "stage": "shadow", "audits_missing": 1234}, "none yet, about 1,234 audits missing"),
        ({**LIVE, "stage": "alarm"}, "withdrawn by the alarm, learning"),
    ],
    ids=["live", "shadow", "alarm"],
)
def test_a_certificate_is_described_in_words(board: Board, task: dict[str, Any], words: str) -> None:
    board.status = {"tasks": [task]}

    assert figure(board, "certificate") == words


def test_an_event_carries_the_number_of_requests_before_it(board: Board) -> None:
    board.add_request(served("local"))
    board.add_event("certified")

    assert board.events == [(1, "certified")]
    assert "after 1  certified" in shown(board)


def test_the_picture_says_that_the_teacher_is_simulated(board: Board) -> None:
    board.add_request(served("escalated"))

    assert "SIMULATED teacher" in shown(board)
    assert "█" in shown(board), "full escalation reaches the top"


def shown(board: Board) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(board.render())
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()
