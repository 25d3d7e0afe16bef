"""Every decision is found by its id; beyond a size a weighted sample of the old ones stays."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.core import Refusal
from gateway.store import decision_retention
from gateway.store.database import Database
from gateway.store.decision_log import DecisionLog
from gateway.store.decision_record import CertificateFacts, DecisionRecord, refusal_record
from gateway.store.decision_retention import KEPT_S, MOST_OF_AN_HOUR
from gateway.store.ledger_row import LedgerRow

HOUR_S = 3600.0
CERTIFICATE = CertificateFacts("live", 0.02, 0.1, 30.0, 0.6, None, 1.0, 2.0, 3.0, 251, 240, 1.5, None, "")


def record(
    number: int = 1, *, at: float = 1.0, decision: str = "escalated", **changes: Any
) -> DecisionRecord:
    row = LedgerRow(
        at, f"{number:032x}", "t", "k", "p", "task", decision, "/v1/chat/completions", "m", "m", "",
        9, 2, 0, 0, "", 0.25, 0.5, 0.0, 0.0, "reported", "listed",
    )  # fmt: skip
    facts: dict[str, Any] = {"row": row, "status": 200, "reason": "unsure"}
    return DecisionRecord(**facts | changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "decisions.db"


@pytest.fixture
def log(path: Path) -> Iterator[DecisionLog]:
    log = DecisionLog(lambda: Database(path))
    yield log
    log.close()


def add(log: DecisionLog, records: list[DecisionRecord]) -> None:
    for each in records:
        log.put(each)
    log.flush()


def test_a_record_comes_back_as_it_was_written(log: DecisionLog) -> None:
    full = record(
        7, decision="local", method="POST", surface="chat", form="single/short", match="embedding",
        similarity=0.97, place="system 3", alpha=0.02, delta=0.1, days=30.0, agreement="set_f1",
        stratum="new", certificate=CERTIFICATE, version=3, score=0.91, threshold=0.6, familiarity=0.8,
        is_first_stage=True,
        propensity=0.02, would_serve=True, is_streamed=True, is_hedged=True, is_whole=False, is_held_out=True,
        is_on_probation=True, latency_ms=12.5, first_byte_ms=12.4, draft_ms=8.0,
    )  # fmt: skip
    add(log, [record(1), full, record(2)])

    assert log.find(full.row.request_id) == [full]
    assert [row.request_id for row in log.iterate()] == [f"{number:032x}" for number in (1, 7, 2)]


@pytest.mark.parametrize("request_id", ["req-1", "F" * 32, "zz" * 16, "0" * 31])
def test_an_id_of_any_other_form_is_found_as_well(log: DecisionLog, request_id: str) -> None:
    row = msgspec.structs.replace(record().row, request_id=request_id)
    add(log, [record(), record(row=row)])

    assert [each.row for each in log.find(request_id)] == [row]


def test_a_later_report_is_found_with_its_request(log: DecisionLog) -> None:
    add(log, [record(5), record(6), record(5, at=9.0, reason="usage reported later")])

    assert [each.row.at for each in log.find(f"{5:032x}")] == [1.0, 9.0]


def test_a_refusal_is_a_decision_but_no_row_of_the_ledger(log: DecisionLog) -> None:
    refusal = Refusal(
        request_id="ab" * 16, status=403, reason="forbidden by policy", key="app", policy="interns",
        method="POST", path="/v1/files",
    )  # fmt: skip
    add(log, [refusal_record(refusal, 5.0)])

    (found,) = log.find("ab" * 16)
    assert (found.row.decision, found.status, found.row.policy, found.path) == (
        "refused", 403, "interns", "/v1/files",
    )  # fmt: skip
    assert list(log.iterate()) == []


def test_the_newest_are_listed_first(log: DecisionLog) -> None:
    add(log, [record(number, status=200 + number % 2) for number in range(5000)])

    newest = log.newest(2, lambda each: each.status == 200)

    assert [each.row.request_id for each in newest] == [f"{number:032x}" for number in (4998, 4996)]
    assert len(log.newest(9_999, lambda _: True)) == 5000


def test_two_processes_agree_on_the_dictionary(path: Path) -> None:
    logs = [DecisionLog(lambda: Database(path)) for _ in range(2)]
    for number in range(40):
        add(logs[number % 2], [record(number, reason=f"reason {number % 7}")])

    for log in logs:
        assert [log.find(f"{number:032x}")[0].reason for number in range(40)] == [
            f"reason {number % 7}" for number in range(40)
        ]
        log.close()


def test_invented_words_do_not_fill_the_dictionary(
    log: DecisionLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.decision_words.MOST_WORDS", 10)
    add(log, [record(number, reason=f"reason {number}", certificate=CERTIFICATE) for number in range(30)])

    assert [log.find(f"{number:032x}")[0].reason for number in range(30)] == [
        f"reason {number}" for number in range(30)
    ]
    database = Database(path)
    assert database.read("SELECT count(*) FROM decision_words") == [(10,)]
    database.close()


def test_a_failed_write_gives_no_number_away(path: Path) -> None:
    """Else a later record would name a word that was never stored."""
    database = Database(path)
    log = DecisionLog(lambda: database)
    add(log, [record(1, reason="first")])
    database.create("CREATE TRIGGER full BEFORE INSERT ON decisions BEGIN SELECT raise(ABORT, 'full'); END;")
    log.put(record(2, reason="second"))
    with pytest.raises(sqlite3.Error):
        log.flush()
    database.create("DROP TRIGGER full;")

    log.flush()

    assert log.find(f"{2:032x}")[0].reason == "second"
    assert (log.waiting, log.dropped) == (0, 0)
    log.close()


def test_what_a_full_disk_costs_is_counted_exactly(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.store.decision_log.MOST_WAITING", 100)

    def refuse() -> Database:
        raise sqlite3.OperationalError("database or disk is full")

    is_full = True
    log = DecisionLog(lambda: refuse() if is_full else Database(path))
    for number in range(250):
        log.put(record(number))
        if number % 40 == 0:
            with pytest.raises(sqlite3.OperationalError):
                log.flush()
    is_full = False
    log.flush()

    assert (log.count(), log.dropped, log.waiting) == (100, 150, 0)
    log.close()


def mixed(count: int, hours: int) -> list[DecisionRecord]:
    """Return records over `hours`: most local, some escalated, few that must stay."""
    draw = random.Random(1)
    made = []
    for number in range(count):
        at = number * hours * HOUR_S / count
        kind = draw.choices(("local", "escalated", "audit", "error", "hedged"), (70, 20, 2, 1, 1))[0]
        decision = kind if kind in ("local", "escalated", "audit") else "escalated"
        status = 502 if kind == "error" else 200
        made.append(record(number, at=at, decision=decision, status=status, is_hedged=kind == "hedged"))
    return made


def test_of_old_hours_a_weighted_sample_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Audits, errors and hedges all stay; the weights of the rest add up to what there was."""
    monkeypatch.setattr(decision_retention, "KEPT_S", 1e12)
    database = Database(path)
    log = DecisionLog(lambda: database, kept_in_full=2_000)
    records = mixed(20_000, hours=20)
    for start in range(0, len(records), 500):
        add(log, records[start : start + 500])

    kept = log.newest(100_000, lambda _: True)
    begins_at = log.begins_at()
    assert begins_at is not None

    def must_stay(each: DecisionRecord) -> bool:
        return each.row.decision == "audit" or each.status >= 400 or each.is_hedged

    assert sum(map(must_stay, kept)) == sum(map(must_stay, records))
    assert all(each.weight == 1.0 for each in kept if must_stay(each) or each.row.at >= begins_at)
    for decision in ("local", "escalated"):
        there = [each for each in kept if each.row.decision == decision]
        assert sum(each.weight for each in there) == pytest.approx(
            sum(each.row.decision == decision for each in records)
        )
    old = [each for each in kept if each.row.at < begins_at and each.row.decision == "local"]
    hours = {each.row.at // HOUR_S for each in old}
    assert len(old) <= (len(hours) + 1) * MOST_OF_AN_HOUR
    assert log.has_dropped()
    assert [row.at for row in log.iterate()] == [each.row.at for each in records if each.row.at >= begins_at]
    assert log.count() == len(kept) < 9_000
    # What was judged is deleted, not only hidden.
    ((there_are,),) = database.read("SELECT count(*) FROM decisions")
    assert there_are - log.count() < 1_000
    log.close()


def test_what_is_older_than_thirty_days_goes(path: Path) -> None:
    """Audits, too."""
    log = DecisionLog(lambda: Database(path), kept_in_full=100)
    add(log, [record(number, at=float(number), decision="audit") for number in range(500)])
    add(log, [record(900 + number, at=KEPT_S + 500.0) for number in range(100)])
    assert [row.at for row in log.iterate()] == [KEPT_S + 500.0] * 100
    log.close()


def test_a_record_of_a_version_that_knew_no_agreement_is_read() -> None:
    older = msgspec.msgpack.encode(msgspec.structs.astuple(CERTIFICATE)[:-1])

    assert msgspec.msgpack.decode(older, type=CertificateFacts) == CERTIFICATE
