"""The audit trail: what was changed is in it, and nothing in it can be changed unnoticed."""

from __future__ import annotations

import pytest

from gateway.store.audit_trail import AuditTrail
from gateway.store.database import Database


@pytest.fixture
def trail(database: Database) -> AuditTrail:
    trail = AuditTrail(database, clock=lambda: 9.5)
    trail.add("cli:ann", "tasks freeze", "task-1", note="odd answers")
    trail.add("token:ops", "tasks unfreeze", "task-1")
    trail.add("cli:ann", "keys create", "key-1")
    return trail


def test_a_whole_chain_is_found_whole_by_another_process(trail: AuditTrail, other_process: Database) -> None:
    verdict = AuditTrail(other_process).verify()

    assert (verdict.entries, verdict.fault) == (3, "")
    assert verdict.head.startswith("3:")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("UPDATE audit_trail SET actor = 'cli:bob' WHERE number = 2", "entry 2 is not what was written"),
        ("UPDATE audit_trail SET at = 9.0 WHERE number = 1", "entry 1 is not what was written"),
        ("DELETE FROM audit_trail WHERE number = 2", "entry 2 is missing"),
        ("DELETE FROM audit_trail WHERE number = 1", "entry 1 is missing"),
    ],
)
def test_a_changed_entry_is_found(trail: AuditTrail, database: Database, change: str, fault: str) -> None:
    with database.write() as connection:
        connection.execute(change)

    assert trail.verify().fault == fault


def test_an_end_that_was_cut_off_is_found_by_who_kept_the_head(trail: AuditTrail, database: Database) -> None:
    head = trail.verify().head
    trail.add("cli:ann", "keys revoke", "key-1")
    assert not trail.verify(head).fault, "a longer chain still holds it"
    with database.write() as connection:
        connection.execute("DELETE FROM audit_trail WHERE number >= 3")

    assert not trail.verify().fault
    assert head in trail.verify(head).fault


def test_a_change_that_fails_leaves_no_entry(trail: AuditTrail, database: Database) -> None:
    def change_and_fail() -> None:
        with trail.transaction():
            trail.add("cli:ann", "tasks rename", "task-2")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change_and_fail()

    assert trail.newest(9, subject="task-2") == []
    trail.add("cli:ann", "tasks rename", "task-3")
    assert trail.verify().entries == 4


def test_entries_are_found_by_what_they_are_about(trail: AuditTrail) -> None:
    assert [entry.action for entry in trail.newest(9, subject="task-1")] == ["tasks unfreeze", "tasks freeze"]
    [froze] = trail.newest(1, subject="task-1", action="tasks freeze")
    assert (froze.actor, froze.facts, froze.at) == ("cli:ann", '{"note":"odd answers"}', 9.5)
