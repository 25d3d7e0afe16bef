"""A whole gateway that exports: what a receiver sees, and the cost of a receiver that is gone."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import RunningGateway, gateway_process
from tests.support.teacher import RunningTeacher, running_teacher
from tests.support.waiting import PATIENCE_S, wait_for
from tests.telemetry.receiver import Receiver, attributes, running_receiver

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_METRIC_EXPORT_INTERVAL": "100"}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with running_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def teacher() -> Iterator[RunningTeacher]:
    with running_teacher() as teacher:
        yield teacher


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, receiver: Receiver, teacher: RunningTeacher
) -> Iterator[RunningGateway]:
    home = tmp_path_factory.mktemp("export") / "home"
    with gateway_process(
        home, **environment(teacher, receiver.endpoint), STEPDOWN_SERVER_WORKERS="2"
    ) as running:
        yield running


def environment(teacher: RunningTeacher, endpoint: str) -> dict[str, str]:
    return {
        "OPENAI_BASE_URL": teacher.base_url,
        "STEPDOWN_SERVER_OPEN": "true",
        "STEPDOWN_LEARN_ENABLED": "false",
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        **QUICK,
    }


def forwarded(teacher: RunningTeacher, name: str) -> list[str]:
    """Return the values of a header of the last request that the teacher saw."""
    return [value for key, value in teacher.control.seen[-1].headers if key == name]


def shown(gateway: RunningGateway, name: str) -> float:
    """Return the value of a metric without labels on the admin port."""
    with urllib.request.urlopen(f"{gateway.admin_url}/metrics", timeout=PATIENCE_S) as answer:
        lines = answer.read().decode().splitlines()
    return next((float(line.split()[1]) for line in lines if line.startswith(f"{name} ")), 0.0)


def test_a_request_becomes_one_span_below_the_clients(
    gateway: RunningGateway, receiver: Receiver, teacher: RunningTeacher
) -> None:
    """The teacher is told the same trace, with our span as its parent."""
    got = gateway.chat({"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=1", "baggage": "k=v"})

    span = wait_for(
        lambda: next((span for span in receiver.spans if span.trace_id.hex() == TRACE), None), "no span"
    )
    found = attributes(span.attributes)
    assert (span.parent_span_id.hex(), span.trace_state, span.kind) == (PARENT, "a=1", span.SPAN_KIND_SERVER)
    assert span.span_id.hex() == (got.header("x-stepdown-request-id") or "")[16:]
    assert found["gen_ai.operation.name"] == "chat"
    assert found["gen_ai.usage.input_tokens"] == got.json["usage"]["prompt_tokens"]
    assert found["stepdown.decision"] == got.header("x-stepdown-decision")
    assert found["http.response.status_code"] == 200
    assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 20e9
    assert "gen_ai.input.messages" not in found
    assert forwarded(teacher, "traceparent") == [f"00-{TRACE}-{span.span_id.hex()}-01"]
    assert (forwarded(teacher, "tracestate"), forwarded(teacher, "baggage")) == (["a=1"], ["k=v"])


def test_an_unsampled_trace_has_no_span_and_stays_unsampled(
    gateway: RunningGateway, receiver: Receiver, teacher: RunningTeacher
) -> None:
    silent = TRACE[::-1]
    gateway.chat({"traceparent": f"00-{silent}-{PARENT}-00"})
    assert forwarded(teacher, "traceparent")[0].endswith("-00")

    fence = gateway.chat().header("x-stepdown-request-id")

    wait_for(lambda: any(span.trace_id.hex() == fence for span in receiver.spans), "no span")
    assert not any(span.trace_id.hex() == silent for span in receiver.spans)


def test_a_request_that_only_the_teacher_answers_has_a_span_too(
    gateway: RunningGateway, receiver: Receiver, teacher: RunningTeacher
) -> None:
    other = TRACE[1:] + "5"
    gateway.ask("GET", "/v1/models", headers={"traceparent": f"00-{other}-{PARENT}-01"})

    span = wait_for(
        lambda: next((span for span in receiver.spans if span.trace_id.hex() == other), None), "no span"
    )
    assert forwarded(teacher, "traceparent") == [f"00-{other}-{span.span_id.hex()}-01"]
    assert attributes(span.attributes)["http.request.method"] == "GET"


def test_metrics_of_all_workers_are_sent_once(gateway: RunningGateway, receiver: Receiver) -> None:
    """The receiver sees what /metrics shows: sums over the workers, from one of them."""

    def seen() -> int:
        requests = receiver.latest().get("stepdown.requests")
        return int(sum(point.as_double for point in requests.sum.data_points)) if requests else 0

    def accounted() -> int:
        return sum(gateway.status()["costs"]["by_decision"].values())

    for _ in range(8):
        gateway.chat()

    wait_for(lambda: seen() == accounted() >= 8, "the sums differ")
    assert {len(sent.resource_metrics) for sent in receiver.metrics} == {1}
    instances = {
        attributes(sent.resource_metrics[0].resource.attributes)["service.instance.id"]
        for sent in receiver.metrics
    }
    assert len(instances) == 1
    latest = receiver.latest()
    assert latest["gen_ai.server.request.duration"].unit == "s"
    assert {
        "stepdown.tokens",
        "stepdown.spent",
        "stepdown.outcomes_waiting",
        "stepdown.spans_dropped",
    } <= set(latest)


def test_a_dead_receiver_costs_no_answer_and_no_time_at_the_end(
    tmp_path: Path, teacher: RunningTeacher
) -> None:
    """Port 9 refuses: spans are dropped, counted, and logged once."""
    more = environment(teacher, "http://127.0.0.1:9") | {
        "OTEL_BSP_MAX_QUEUE_SIZE": "10",
        # Were this exporter not given up, the supervisor would kill the worker after 15 s.
        "OTEL_EXPORTER_OTLP_TIMEOUT": "60",
    }

    with gateway_process(tmp_path / "home", **more) as gateway:
        assert {gateway.chat().status for _ in range(40)} == {200}
        wait_for(lambda: shown(gateway, "stepdown_spans_dropped_total") >= 20, "nothing is dropped")
        began = time.monotonic()
    took_s = time.monotonic() - began

    assert took_s < 12
    assert gateway.log().count("spans cannot be exported") <= 1
