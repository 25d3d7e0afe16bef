"""A row that cannot be read is named once and costs only itself."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from gateway.core import Audit
from gateway.store.audits import AuditLog
from gateway.store.certifications import CertificationStore
from gateway.store.database import Database
from tests.support.builders import certified


def test_an_unreadable_certification_costs_its_own_task_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Before, the first such row ended the refresh of keys, alarms and policies for good."""
    database = Database(tmp_path / "state.db")
    store = CertificationStore(database)
    store.put(certified("cards", 2))
    with caplog.at_level(logging.ERROR):
        for body in ("{", "[]"):
            with database.write() as connection:
                connection.execute("INSERT OR REPLACE INTO certifications VALUES ('loans', 1, ?)", (body,))
            store.refresh()

    assert store.of("cards").version == 2
    assert store.of("loans").version is None
    assert [record.getMessage().partition(",")[0] for record in caplog.records] == [
        "certifications: row 'loans' cannot be read"
    ]


def test_a_worker_starts_with_an_unreadable_row(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db")
    CertificationStore(database)
    with database.write() as connection:
        connection.execute("INSERT INTO certifications VALUES ('loans', 1, '{')")

    assert CertificationStore(database).all() == []


def test_an_unreadable_audit_is_left_out_of_the_evidence(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db")
    log = AuditLog(database)
    for request_id in "abc":
        log.put(
            Audit(
                request_id=request_id, at=0.0, task="t", stratum="new", template="f", version=2, loss=0.0,
                score=0.9,
            )
        )  # fmt: skip
    log.flush()
    with database.write() as connection:
        connection.execute("UPDATE audits SET text_hash = 'no number' WHERE request_id = 'b'")

    assert [audit.request_id for _, audit in log.since(0)] == ["a", "c"]


def test_what_was_forgotten_is_read_again(tmp_path: Path) -> None:
    store = CertificationStore(Database(tmp_path / "state.db"))
    store.put(certified("cards", 2))

    store.forget()
    assert store.of("cards").version is None

    store.refresh()
    assert store.of("cards").version == 2
