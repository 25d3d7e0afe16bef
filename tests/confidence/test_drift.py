from __future__ import annotations

import msgspec
import pytest

from gateway.confidence.drift import DriftMonitor
from gateway.core import Audit, Route, Standing
from tests.confidence.conftest import AuditList, StandingDict

ROUTE = Route("intents")


@pytest.fixture
def book(live: Standing) -> StandingDict:
    return StandingDict(live)


def audit(at: float, loss: float, accepted: bool = True, version: int = 3, epoch: int = 0) -> Audit:
    return Audit(
        at=at,
        task="intents",
        lane="fingerprint",
        version=version,
        epoch=epoch,
        loss=loss,
        score=0.9,
        accepted=accepted,
    )


def drift(audits: AuditList, good: int = 100, bad: int = 40) -> None:
    audits.audits += [audit(n, 0.0) for n in range(good)]
    audits.audits += [audit(good + n, 1.0) for n in range(bad)]


def test_drift_sends_the_task_back_to_the_teacher(book: StandingDict, audits: AuditList) -> None:
    drift(audits)

    (alarm,) = DriftMonitor(book, audits).refresh()

    assert book.of(ROUTE) == alarm
    assert (alarm.stage, alarm.epoch, alarm.threshold, alarm.version) == ("alarm", 1, None, 3)
    assert not alarm.serves
    assert alarm.valid_from == 100.0
    assert alarm.attempts == 0


def test_agreement_raises_no_alarm(book: StandingDict, audits: AuditList, live: Standing) -> None:
    audits.audits += [audit(n, float(n % 40 == 0)) for n in range(1000)]
    assert DriftMonitor(book, audits).refresh() == []
    assert book.of(ROUTE) == live


@pytest.mark.parametrize("changes", [{"accepted": False}, {"version": 2}, {"epoch": 7}])
def test_audits_outside_the_certificate_raise_no_alarm(
    book: StandingDict, audits: AuditList, changes: dict[str, object]
) -> None:
    """Drafts below the threshold, of another version or of another epoch were not promised."""
    drift(audits)
    audits.audits = [msgspec.structs.replace(old, **changes) for old in audits.audits]
    assert DriftMonitor(book, audits).refresh() == []


def test_many_workers_raise_one_alarm(book: StandingDict, audits: AuditList) -> None:
    watches = [DriftMonitor(book, audits) for _ in range(4)]
    drift(audits)

    alarms = [alarm for watch in watches for alarm in watch.refresh()]

    assert len(alarms) == book.writes == 1


def test_a_restarted_watch_knows_what_the_old_one_knew(book: StandingDict, audits: AuditList) -> None:
    drift(audits, bad=3)
    assert DriftMonitor(book, audits).refresh() == []
    audits.put(audit(200, 1.0))

    assert len(DriftMonitor(book, audits).refresh()) == 1


def test_an_audit_counts_once_however_often_the_watch_looks(book: StandingDict, audits: AuditList) -> None:
    watch = DriftMonitor(book, audits)
    drift(audits, bad=3)
    assert [watch.refresh() for _ in range(5)] == [[]] * 5


def test_a_new_version_starts_with_a_clean_record(
    book: StandingDict, audits: AuditList, live: Standing
) -> None:
    watch = DriftMonitor(book, audits)
    drift(audits, bad=3)
    watch.refresh()
    book.put_if(0, msgspec.structs.replace(live, version=4))
    audits.put(audit(200, 1.0, version=4))

    assert watch.refresh() == []
    assert book.of(ROUTE).version == 4
