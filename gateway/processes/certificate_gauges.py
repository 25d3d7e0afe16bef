"""What operators must look at of the certificates, as gauges of the admin plane."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.registry import Collector

from gateway.processes.registry_access import list_lost_versions
from gateway.settings import Settings
from gateway.store.state import State
from gateway.telemetry.gauges import ReadGauge

Reading = tuple[tuple[str], float]


def create_certificate_gauges(settings: Settings, state: State) -> list[Collector]:
    """Return gauges that read `state` and the registry at each scrape."""
    return [
        ReadGauge(
            "stepdown_alarm_unacknowledged",
            "1 from an alarm until it is acknowledged.",
            ("route",),
            lambda: _list_alarms(state),
        ),
        ReadGauge(
            "stepdown_specialist_lost",
            "1 while files of the specialist that drafts are gone.",
            ("route",),
            lambda: _list_lost(settings, state),
        ),
    ]


def _list_alarms(state: State) -> Iterator[Reading]:
    seen = state.interventions.find_seen_alarm
    for one in state.certifications.all():
        if one.epoch:
            yield (one.task,), float(seen(one.task, one.epoch) is None)


def _list_lost(settings: Settings, state: State) -> Iterator[Reading]:
    lost = {task for task, _ in list_lost_versions(settings, state)}
    for one in state.certifications.all():
        if one.version is not None:
            yield (one.task,), float(one.task in lost)
