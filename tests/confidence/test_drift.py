from __future__ import annotations

import msgspec
import pytest

from gateway.confidence.drift import DriftMonitor
from gateway.core import Audit, Route, Standing
from tests.confidence.conftest import AuditList, StandingDict

ROUTE = Route("intents")


@pytest.fixture
def standings(live: Standing) -> StandingDict:
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


def test_drift_sends_the_task_back_to_the_teacher(standings: StandingDict, audits: AuditList) -> None:
    drift(audits)

    (alarm,) = DriftMonitor(standings, audits).refresh()

    assert standings.of(ROUTE) == alarm
    assert (alarm.stage, alarm.epoch, alarm.threshold, alarm.version) == ("alarm", 1, None, 3)
    assert not alarm.serves
    assert alarm.valid_from == 100.0
    assert alarm.attempts == 0


def test_agreement_raises_no_alarm(standings: StandingDict, audits: AuditList, live: Standing) -> None:
    audits.audits += [audit(n, float(n % 40 == 0)) for n in range(1000)]
    assert DriftMonitor(standings, audits).refresh() == []
    assert standings.of(ROUTE) == live


@pytest.mark.parametrize("changes", [{"accepted": False}, {"version": 2}, {"epoch": 7}])
def test_audits_outside_the_certificate_raise_no_alarm(
    standings: StandingDict, audits: AuditList, changes: dict[str, object]
) -> None:
    """The certificate promises nothing about drafts below its threshold, or of another version or epoch."""
    drift(audits)
    audits.audits = [msgspec.structs.replace(old, **changes) for old in audits.audits]
    assert DriftMonitor(standings, audits).refresh() == []


def test_many_workers_raise_one_alarm(standings: StandingDict, audits: AuditList) -> None:
    monitors = [DriftMonitor(standings, audits) for _ in range(4)]
    drift(audits)

    alarms = [alarm for monitor in monitors for alarm in monitor.refresh()]

    assert len(alarms) == standings.writes == 1


def test_a_restarted_monitor_has_the_state_of_the_old_one(standings: StandingDict, audits: AuditList) -> None:
    drift(audits, bad=3)
    assert DriftMonitor(standings, audits).refresh() == []
    audits.put(audit(200, 1.0))

    assert len(DriftMonitor(standings, audits).refresh()) == 1


def test_an_audit_counts_once(standings: StandingDict, audits: AuditList) -> None:
    monitor = DriftMonitor(standings, audits)
    drift(audits, bad=3)
    assert [monitor.refresh() for _ in range(5)] == [[]] * 5


def test_a_new_version_starts_with_a_clean_record(
    standings: StandingDict, audits: AuditList, live: Standing
) -> None:
    monitor = DriftMonitor(standings, audits)
    drift(audits, bad=3)
    monitor.refresh()
    standings.put_if(0, msgspec.structs.replace(live, version=4))
    audits.put(audit(200, 1.0, version=4))

    assert monitor.refresh() == []
    assert standings.of(ROUTE).version == 4
