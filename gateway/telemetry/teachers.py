"""What each teacher was asked, and how it is, as metrics."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge


class CallLimit(Protocol):
    """How many calls a teacher has, and may have, at once."""

    in_flight: int
    limit: float

    @property
    def waiting(self) -> int:
        """How many calls wait for a place."""


class TeacherHealth(Protocol):
    """A teacher that counts what it was asked."""

    name: str
    requests: int
    failures: int
    retries: int
    retirements: dict[str, date]

    @property
    def limit(self) -> CallLimit | None:
        """None where its calls are not limited."""

    @property
    def openings(self) -> int:
        """How often its circuit has opened."""

    @property
    def is_out(self) -> bool:
        """Whether its circuit is not closed."""


class TeacherMetrics:
    """Shows the numbers that `teachers` keep."""

    def __init__(self, registry: CollectorRegistry, teachers: Sequence[TeacherHealth]) -> None:
        self._teachers = teachers
        self._last: dict[tuple[str, str], int] = {}
        self._totals = {
            "requests": _counter(registry, "requests", "Requests that were sent to a teacher first."),
            "retries": _counter(registry, "retries", "Requests that a teacher was sent again."),
            "failures": _counter(
                registry, "failures", "Attempts that a teacher failed: 5xx, 429, no answer."
            ),
            "openings": _counter(registry, "circuit_openings", "How often a teacher was taken for broken."),
        }
        self._out = Gauge(
            "stepdown_teacher_circuits_open",
            "Workers that take a teacher for broken.",
            ("teacher",),
            registry=registry,
        )

        self._in_flight = _gauge(registry, "in_flight", "Calls that a limited teacher has.")
        self._limit = _gauge(registry, "limit", "Calls that a limited teacher may have at once.")
        self._queued = _gauge(registry, "queued", "Calls that wait for a place at a limited teacher.")
        self._retirements = Gauge(
            "stepdown_teacher_model_retires_timestamp_seconds",
            "When a teacher will retire a model that the settings name, or any within 90 days.",
            ("teacher", "model"),
            registry=registry,
        )

    def update_registry(self) -> None:
        """Move what was counted to the registry."""
        for teacher in self._teachers:
            for name, counter in self._totals.items():
                total = int(getattr(teacher, name))
                counter.labels(teacher.name).inc(total - self._last.get((teacher.name, name), 0))
                self._last[teacher.name, name] = total
            self._out.labels(teacher.name).set(teacher.is_out)
            if (limit := teacher.limit) is not None:
                self._in_flight.labels(teacher.name).set(limit.in_flight)
                self._limit.labels(teacher.name).set(int(limit.limit))
                self._queued.labels(teacher.name).set(limit.waiting)
            for model, day in teacher.retirements.items():
                midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
                self._retirements.labels(teacher.name, model).set(midnight.timestamp())


def _counter(registry: CollectorRegistry, name: str, text: str) -> Counter:
    return Counter(f"stepdown_teacher_{name}", text, ("teacher",), registry=registry)


def _gauge(registry: CollectorRegistry, name: str, text: str) -> Gauge:
    return Gauge(f"stepdown_teacher_calls_{name}", text, ("teacher",), registry=registry)
