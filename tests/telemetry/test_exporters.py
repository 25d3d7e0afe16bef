"""Exporters: none unless asked for, and none stops the start of a gateway."""

from __future__ import annotations

import logging

import pytest

from gateway.telemetry.exporters import Exporters
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.otel_env import read_otel_env
from tests.support.builders import request

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


def exporters_for(environ: dict[str, str]) -> Exporters:
    return Exporters(read_otel_env(environ), "here", provider="openai", base_url="https://teacher.example/v1")


@pytest.mark.parametrize(
    "environ", [{}, ENDPOINT | {"OTEL_SDK_DISABLED": "true"}], ids=["nothing", "disabled"]
)
def test_nothing_is_exported_unless_asked_for(environ: dict[str, str]) -> None:
    """The teacher gets exactly the headers that the client sent."""
    exporters = exporters_for(environ)
    incoming = request(headers=((b"traceparent", b"of another kind"),))

    exporters.start_push(Metrics())

    assert exporters.headers(incoming) is incoming.headers
    assert (exporters.observers, exporters.list_probes()) == ([], [])
    exporters.close()


def test_an_error_of_the_sdk_is_logged_and_nothing_is_exported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """For example a broken exporter package, or a credential provider that is not installed."""
    monkeypatch.setenv("OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER", "nobody")

    with caplog.at_level(logging.ERROR):
        exporters = exporters_for(ENDPOINT)
        exporters.start_push(Metrics())

    assert exporters.observers == []
    assert "telemetry is not exported" in caplog.text
    exporters.close()
