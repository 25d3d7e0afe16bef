"""Near copies of a template: audited whole, until they have proved what they are."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from gateway.confidence.probation import PROBATION_AUDITS, ProbationMonitor
from gateway.core import Audit, CopyStatus
from tests.confidence.conftest import AuditList


class Book:
    """Statuses in memory; the first writer wins."""

    def __init__(self) -> None:
        self.statuses: dict[str, CopyStatus] = {}

    def put(self, task: str, copy: str, status: CopyStatus) -> None:
        self.statuses.setdefault(copy, status)


def audit(n: int, loss: float, **changes: Any) -> Audit:
    facts: dict[str, Any] = {
        "request_id": f"req-{n}",
        "at": n * 60.0,
        "task": "intents",
        "stratum": "variant",
        "template": "copy",
        "place": "3-1",
        "is_on_probation": True,
        "text_hash": n,
        "version": 1,
        "loss": loss,
        "score": 0.9,
        "passes_as_new": True,
    }
    return Audit(**facts | changes)


def after(audits: list[Audit]) -> dict[str, CopyStatus]:
    log, book = AuditList(), Book()
    log.audits += audits
    ProbationMonitor(book, log).refresh()
    return book.statuses


def test_a_contradicting_copy_founds_its_own_task_after_three_losses() -> None:
    assert after([audit(n, 1.0) for n in range(2)]) == {}
    assert after([audit(n, 1.0) for n in range(3)])["copy"] == "separate"


def test_a_copy_that_agrees_joins_after_thirty_audits() -> None:
    agreeing = [audit(n, float(n in (4, 9))) for n in range(PROBATION_AUDITS)]

    assert after(agreeing[:-1]) == {}
    assert after(agreeing) == {"copy": "known"}


@pytest.mark.parametrize("changes", [{"passes_as_new": False}, {"passes_as_new": None}])
def test_a_draft_that_would_not_be_served_is_no_loss(changes: dict[str, Any]) -> None:
    """The teacher would have answered it anyway."""
    assert "separate" not in after([audit(n, 1.0, **changes) for n in range(20)]).values()


def test_a_place_is_known_to_vary_after_several_fillings() -> None:
    """Such as the name of a user: what thirty have shown need not be shown by each."""
    names = [audit(n, 0.0, template=f"user-{n}") for n in range(PROBATION_AUDITS)]

    assert after(names) == {"place 3-1": "known"}
    assert after([audit(n, 0.0) for n in range(PROBATION_AUDITS)]) == {"copy": "known"}


def test_one_templates_losses_say_nothing_of_another_at_its_place() -> None:
    assert after([audit(n, 1.0) for n in range(9)]) == {"copy": "separate"}
    two = [audit(n, 1.0, template=f"copy-{n % 2}") for n in range(6)]
    assert after(two)["place 3-1"] == "separate"


def test_other_audits_end_no_probation() -> None:
    assert after([audit(n, 1.0, is_on_probation=False) for n in range(40)]) == {}


def test_monitors_of_all_workers_agree() -> None:
    log, book = AuditList(), Book()
    monitors = [ProbationMonitor(book, log) for _ in range(3)]
    for n in range(40):
        log.put(audit(n, 0.0))
        monitors[n % 3].refresh()

    for monitor in monitors:
        monitor.refresh()

    assert book.statuses == {"copy": "known"}


def test_a_status_that_could_not_be_stored_is_stored_at_the_next_audit() -> None:
    class FullDisk(Book):
        is_full = True

        def put(self, task: str, copy: str, status: CopyStatus) -> None:
            if self.is_full:
                raise sqlite3.OperationalError("database or disk is full")
            super().put(task, copy, status)

    log, book = AuditList(), FullDisk()
    monitor = ProbationMonitor(book, log)
    log.audits += [audit(n, 1.0) for n in range(3)]
    with pytest.raises(sqlite3.OperationalError):
        monitor.refresh()

    book.is_full = False
    log.put(audit(3, 1.0))
    monitor.refresh()

    assert book.statuses == {"copy": "separate"}
