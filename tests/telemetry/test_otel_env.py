"""OTEL_*: nothing is exported unless asked for, and no variable stops a start."""

from __future__ import annotations

import logging

import pytest

from gateway.telemetry.otel_env import read_otel_env

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
ID = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("environ", "spans", "metrics"),
    [
        ({}, (), ()),
        (ENDPOINT, ("otlp",), ("otlp",)),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "TRUE"}, (), ()),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, (), ("otlp",)),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1"}, ("otlp",), ()),
        ({"OTEL_TRACES_EXPORTER": "console, otlp"}, ("console", "otlp"), ()),
        ({"OTEL_METRICS_EXPORTER": "prometheus"}, (), ()),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, (), ()),
        (
            ENDPOINT
            | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"},
            ("otlp",),
            (),
        ),
    ],
)
def test_the_standard_variables_name_the_exporters(
    environ: dict[str, str], spans: tuple[str, ...], metrics: tuple[str, ...]
) -> None:
    config = read_otel_env(environ)

    assert (config.span_exporters, config.metric_exporters) == (spans, metrics)


@pytest.mark.parametrize(
    ("value", "captures"),
    [
        (None, False),
        ("false", False),
        ("NO_CONTENT", False),
        ("true", True),
        ("SPAN_ONLY", True),
        ("SPAN_AND_EVENT", True),
        ("EVENT_ONLY", False),
    ],
)
def test_content_is_captured_only_if_spans_are_to_hold_it(value: str | None, captures: bool) -> None:
    environ = {} if value is None else {CAPTURE: value}

    assert read_otel_env(environ).captures_content is captures


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_TRACES_EXPORTER": "zipkin"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json", **ENDPOINT},
        {"OTEL_TRACES_SAMPLER": "jaeger_remote"},
        {"OTEL_TRACES_SAMPLER_ARG": "2"},
        {"OTEL_METRIC_EXPORT_INTERVAL": "soon"},
        {"OTEL_BSP_MAX_QUEUE_SIZE": "0"},
        {"OTEL_BSP_SCHEDULE_DELAY": "never"},
        {CAPTURE: "EVENT_ONLY"},
    ],
)
def test_an_unsupported_value_is_logged_and_the_rest_is_done(
    environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        config = read_otel_env(environ)

    assert set(environ) & set(" ".join(caplog.messages).replace(":", "").split()) or "PROTOCOL" in caplog.text
    assert config.sampler(ID, None)
    assert config.metric_interval_s == 60
    assert config.max_spans == 2048
    assert config.span_linger_s == 5


def test_a_ratio_reaches_the_sampler() -> None:
    config = read_otel_env({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"})

    assert not config.sampler(ID, None)
