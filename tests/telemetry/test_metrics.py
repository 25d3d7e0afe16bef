"""Metrics: bounded in size, summed over workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.core import Route
from gateway.telemetry import metrics as module
from gateway.telemetry import shared_sums
from gateway.telemetry.metrics import Metrics, Probe
from gateway.telemetry.shared_sums import SharedSums, SumFiles, create_sum_files
from tests.support.builders import outcome, reading, request
from tests.support.waiting import PATIENCE_S

WORKER = """
import sys
import time
from gateway.telemetry.metrics import Metrics, Probe
from gateway.telemetry.shared_sums import SharedSums
from tests.support.builders import outcome, reading
number, *files = map(int, sys.argv[2:])
shared = SharedSums(files, number)
metrics = Metrics([Probe("rows_dropped_total", "Dropped.", lambda: 5.0)], shared=shared)
metrics(outcome(), reading())
metrics.update_registry()
metrics.update_registry()
if "render" in sys.argv:
    sys.stdout.write(metrics.render_text().decode())
"""


def value(rendered: bytes, name: str, **labels: str) -> float:
    """Return the sum of the samples called `name` that carry `labels`."""
    samples = [
        sample
        for family in text_string_to_metric_families(rendered.decode())
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert samples, f"no {name} with {labels}"
    return sum(sample.value for sample in samples)


def test_requests_are_counted_by_decision_and_reason() -> None:
    metrics = Metrics()

    metrics(outcome(), reading())
    metrics(outcome(decision="local", reason="certified"), reading())

    shown = metrics.render_text()
    assert value(shown, "stepdown_requests_total", decision="local", reason="certified", route="cards") == 1
    assert value(shown, "stepdown_requests_total") == 2


def test_latencies_are_in_seconds() -> None:
    metrics = Metrics()

    metrics(outcome(latency_ms=800.0, first_byte_ms=700.0), reading())

    shown = metrics.render_text()
    assert value(shown, "stepdown_latency_seconds_sum") == pytest.approx(0.8)
    assert value(shown, "stepdown_first_byte_seconds_sum") == pytest.approx(0.7)


def test_tokens_are_counted_when_they_were_reported() -> None:
    metrics = Metrics()

    metrics(outcome(), reading())
    metrics(outcome(), reading(usage=None))

    assert value(metrics.render_text(), "stepdown_tokens_total", kind="prompt") == 1000


def test_names_beyond_the_bound_become_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that keeps sending new templates cannot fill the memory; every request is counted."""
    monkeypatch.setattr(module, "MAX_ROUTES", 3)
    metrics = Metrics()

    for n in range(10):
        metrics(outcome(route=Route(f"task-{n}")), reading())

    shown = metrics.render_text()
    assert value(shown, "stepdown_requests_total", route="other") == 7
    assert value(shown, "stepdown_requests_total") == 10


def test_probes_are_read_when_the_registry_is_updated() -> None:
    """A total keeps growing; a gauge shows its last value."""
    numbers = iter([3.0, 5.0, 2.0, 1.0])
    metrics = Metrics(
        [
            Probe("rows_dropped_total", "Dropped.", lambda: next(numbers)),
            Probe("queue_depth", "Waiting.", lambda: next(numbers)),
        ]
    )

    metrics.update_registry()
    metrics.update_registry()

    shown = metrics.render_text()
    assert value(shown, "stepdown_rows_dropped_total") == 3
    assert value(shown, "stepdown_queue_depth") == 1


@pytest.fixture
def sum_files(tmp_path: Path) -> Iterator[list[int]]:
    """Give the sum files of two workers."""
    files = create_sum_files(2, tmp_path)
    yield files
    for file in files:
        os.close(file)


def work(number: int, files: list[int], what: str = "count", program: str = WORKER) -> bytes:
    """Let worker `number` count one request and end; return what it shows."""
    arguments = [sys.executable, "-c", program, what, str(number), *map(str, files)]
    return subprocess.run(arguments, pass_fds=files, stdout=subprocess.PIPE, check=True).stdout


@pytest.mark.parametrize("first", [0, 1], ids=["the same worker", "another worker"])
def test_what_a_worker_that_has_ended_has_counted_still_counts(sum_files: list[int], first: int) -> None:
    work(first, sum_files)
    shown = work(0, sum_files, "render")

    assert value(shown, "stepdown_requests_total") == 2
    assert value(shown, "stepdown_latency_seconds_count") == 2
    assert value(shown, "stepdown_rows_dropped_total") == 10


def test_a_worker_that_is_killed_while_it_writes_loses_that_write_alone(sum_files: list[int]) -> None:
    """A write that was cut is not read: the one before it is."""
    work(0, sum_files)
    work(0, sum_files)
    [newest] = [place for place in shared_sums._PLACES if _number_at(sum_files[0], place) == 2]
    os.pwrite(sum_files[0], b"torn", newest + 40)

    assert value(work(1, sum_files, "render"), "stepdown_requests_total") == 2


def test_sums_that_cannot_be_written_are_dropped_and_counted_and_heal(tmp_path: Path) -> None:
    with (tmp_path / "sums").open("wb+") as file, (tmp_path / "sums").open("rb") as read_only:
        shared = SharedSums([read_only.fileno()], 0)
        metrics = Metrics(shared=shared)
        metrics(outcome(), reading())
        metrics.update_registry()
        assert shared.dropped == 1

        os.dup2(file.fileno(), read_only.fileno())
        metrics.update_registry()

        assert value(metrics.render_text(), "stepdown_requests_total") == 1


def test_an_answer_without_a_first_byte_has_no_time_to_it() -> None:
    metrics = Metrics()

    metrics(outcome(first_byte_ms=0.0, status=502), reading(usage=None))

    shown = metrics.render_text()
    assert value(shown, "stepdown_first_byte_seconds_count") == 0
    assert value(shown, "stepdown_latency_seconds_count") == 1


def test_times_of_streams_are_kept_apart() -> None:
    metrics = Metrics()

    metrics(outcome(request(is_streamed=True), first_byte_ms=5.0), reading())
    metrics(outcome(), reading())

    shown = metrics.render_text()
    assert value(shown, "stepdown_first_byte_seconds_sum", streamed="true") == pytest.approx(0.005)
    assert value(shown, "stepdown_latency_seconds_count", streamed="false") == 1


@pytest.mark.parametrize("latency_s", [0.001, 0.002, 0.0021, 119.0, 120.0, 1_000.0])
def test_an_observation_falls_into_the_first_bucket_that_holds_it(latency_s: float) -> None:
    """The same bucket as with the library's own `observe`, bounds included."""
    ours, library = Metrics(), CollectorRegistry()
    Histogram("h", "h", registry=library, buckets=module._BUCKETS_S).observe(latency_s)

    ours(outcome(latency_ms=latency_s * 1000), reading())

    def buckets(rendered: bytes, name: str) -> list[float]:
        families = text_string_to_metric_families(rendered.decode())
        return [sample.value for family in families for sample in family.samples if sample.name == name]

    expected = buckets(generate_latest(library), "h_bucket")
    assert buckets(ours.render_text(), "stepdown_latency_seconds_bucket") == expected


def test_a_gauge_of_a_worker_that_has_ended_is_forgotten(sum_files: list[int]) -> None:
    """Nothing waits in it any more; its totals still count."""
    program = WORKER.replace('Probe("rows_dropped_total"', 'Probe("rows_waiting"')

    work(1, sum_files, program=program)
    shown = work(0, sum_files, "render", program)

    assert value(shown, "stepdown_rows_waiting") == 5
    assert value(shown, "stepdown_requests_total") == 2


def test_counting_began_when_the_first_process_counted(sum_files: list[int]) -> None:
    """A worker that is started again continues the counts."""
    before = SharedSums(sum_files, 0)
    before.publish([])

    assert Metrics(shared=SharedSums(sum_files, 0)).counting_since() == before.since
    assert Metrics(shared=SharedSums(sum_files, 1)).counting_since() == before.since


def _number_at(file: int, place: int) -> int:
    return int(shared_sums._HEADER.unpack(os.pread(file, shared_sums._HEADER.size, place))[0])


def test_a_reader_waits_until_a_worker_has_shown_what_it_counted(sum_files: list[int]) -> None:
    before = time.monotonic()
    SharedSums(sum_files, 0).publish([], as_of=before)
    reader = SumFiles(sum_files)

    reader.wait_until_newer(before, PATIENCE_S)
    assert time.monotonic() - before < PATIENCE_S, (
        "it has shown enough; a worker that never ran is not waited for"
    )

    begun = time.monotonic()
    reader.wait_until_newer(begun, 0.1)
    assert time.monotonic() - begun >= 0.1, "what it showed is of before"
