"""The audit log: one order for every process, nothing lost on the way to the disk."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec
import pytest

from gateway.core import Audit, RiskTarget
from gateway.store.audits import AuditLog
from gateway.store.database import Database

AUDIT = Audit(
    request_id="req-1",
    at=1.5,
    task="cards",
    stratum="variant",
    template="feed",
    place="3-0",
    is_on_probation=True,
    text_hash=2**64 - 1,
    caller="key-1",
    is_vouched_for=False,
    propensity=0.3,
    version=2,
    loss=0.25,
    score=0.9,
    accepted=(RiskTarget(0.02), RiskTarget(0.05, evidence="imported")),
)


def audit(**changes: Any) -> Audit:
    return msgspec.structs.replace(AUDIT, **changes)


def test_an_audit_comes_back_whole(database: Database) -> None:
    log = AuditLog(database)

    log.put(AUDIT)
    log.flush()

    assert log.since(0) == [(1, AUDIT)]


def test_every_process_sees_one_order(database: Database, other_process: Database) -> None:
    ours, theirs = AuditLog(database), AuditLog(other_process)
    for n in range(6):
        log = ours if n % 2 else theirs
        log.put(audit(at=float(n)))
        log.flush()

    assert ours.since(0) == theirs.since(0)
    assert [entry.at for _, entry in ours.since(0)] == [0, 1, 2, 3, 4, 5]


def test_reading_continues_after_the_last_number_seen(database: Database) -> None:
    log = AuditLog(database)
    for n in range(3):
        log.put(audit(at=float(n)))
    log.flush()

    assert [entry.at for _, entry in log.since(2)] == [2.0]


def test_pruning_deletes_old_audits_and_never_reuses_their_numbers(database: Database) -> None:
    log = AuditLog(database)
    log.put(audit(at=1.0))
    log.flush()

    deleted = log.prune(before=2.0)
    log.put(audit(at=3.0))
    log.flush()

    assert deleted == 1
    assert [seq for seq, _ in log.since(0)] == [2]


def test_a_failed_flush_keeps_the_audits(database: Database) -> None:
    """The next flush writes them, once."""
    log = AuditLog(database)
    log.put(AUDIT)
    database.create("ALTER TABLE audits RENAME TO gone")
    with pytest.raises(sqlite3.OperationalError):
        log.flush()
    database.create("ALTER TABLE gone RENAME TO audits")

    log.flush()
    log.flush()

    assert [entry for _, entry in log.since(0)] == [AUDIT]


def test_beyond_its_capacity_audits_are_dropped_and_counted(database: Database) -> None:
    log = AuditLog(database, capacity=2)

    for _ in range(5):
        log.put(AUDIT)
    log.flush()

    assert (len(log.since(0)), log.dropped) == (2, 3)


def test_losses_by_a_targets_own_agreement_come_back(database: Database) -> None:
    graded = audit(accepted=(RiskTarget(0.02), RiskTarget(0.05, agreement="set_f1")), graded=(1.0, 0.25))
    log = AuditLog(database)

    log.put(graded)
    log.flush()

    assert log.since(0) == [(1, graded)]
