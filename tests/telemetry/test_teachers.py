"""Each teacher's numbers are shown under its name."""

from __future__ import annotations

from datetime import date

import msgspec

from gateway.telemetry.metrics import Metrics


class Limit(msgspec.Struct):
    in_flight: int
    limit: float
    waiting: int


class Health(msgspec.Struct):
    name: str
    requests: int = 0
    failures: int = 0
    retries: int = 0
    openings: int = 0
    is_out: bool = False
    retirements: dict[str, date] = {}
    limit: Limit | None = None


def test_numbers_are_shown_by_teacher_and_only_grow() -> None:
    first, second = Health("first", requests=7, failures=2), Health("second")
    metrics = Metrics(teachers=[first, second])
    metrics.render_text()
    first.requests, first.openings, first.is_out = 9, 1, True

    first.retirements = {"gpt-4o": date(2026, 12, 11)}

    text = metrics.render_text().decode()

    named = 'stepdown_teacher_model_retires_timestamp_seconds{model="gpt-4o",teacher="first"}'
    assert f"{named} 1.7969472e+09" in text
    assert 'stepdown_teacher_requests_total{teacher="first"} 9.0' in text
    assert 'stepdown_teacher_failures_total{teacher="first"} 2.0' in text
    assert 'stepdown_teacher_circuit_openings_total{teacher="first"} 1.0' in text
    assert 'stepdown_teacher_circuits_open{teacher="first"} 1.0' in text
    assert 'stepdown_teacher_circuits_open{teacher="second"} 0.0' in text


def test_a_limit_is_shown_where_there_is_one() -> None:
    teachers = [Health("small", limit=Limit(in_flight=7, limit=7.9, waiting=3)), Health("large")]

    text = Metrics(teachers=teachers).render_text().decode()

    assert 'stepdown_teacher_calls_in_flight{teacher="small"} 7.0' in text
    assert 'stepdown_teacher_calls_limit{teacher="small"} 7.0' in text
    assert 'stepdown_teacher_calls_queued{teacher="small"} 3.0' in text
    assert 'calls_limit{teacher="large"}' not in text
