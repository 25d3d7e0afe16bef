"""The way out: closed unless asked for, and never the reason why a gateway does not start."""

from __future__ import annotations

import logging

import pytest

from gateway.telemetry.exporters import Exporters
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.otel_env import read_otel_env
from tests.support.builders import request

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


def teacher_headers(environ: dict[str, str]) -> Exporters:
    return Exporters(read_otel_env(environ), "here", provider="openai", base_url="https://teacher.example/v1")


@pytest.mark.parametrize(
    "environ", [{}, ENDPOINT | {"OTEL_SDK_DISABLED": "true"}], ids=["nothing", "disabled"]
)
def test_nobody_asked_and_nothing_happens(environ: dict[str, str]) -> None:
    """The teacher gets the very headers which the client sent."""
    closed = teacher_headers(environ)
    asked = request(headers=((b"traceparent", b"of another kind"),))

    closed.push(Metrics())

    assert closed.headers(asked) is asked.headers
    assert (closed.observers, closed.probes()) == ([], [])
    closed.close()


def test_a_fault_of_the_sdk_is_logged_and_nothing_leaves(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as an exporter whose package is broken, or a credential provider which nobody installed."""
    monkeypatch.setenv("OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER", "nobody")

    with caplog.at_level(logging.ERROR):
        closed = teacher_headers(ENDPOINT)
        closed.push(Metrics())

    assert closed.observers == []
    assert "telemetry is not exported" in caplog.text
    closed.close()
