"""The admin application shows metrics and status, and its errors have OpenAI's shape like all others."""

from __future__ import annotations

import pytest
from litestar.testing import TestClient

from gateway.api.admin import create_admin


def test_metrics_are_prometheus_text() -> None:
    with TestClient(create_admin(lambda: b"up 1\n", dict)) as client:
        response = client.get("/metrics")

    assert response.content == b"up 1\n"
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_status_is_json() -> None:
    with TestClient(create_admin(bytes, lambda: {"workers": 2})) as client:
        assert client.get("/status").json() == {"workers": 2}


@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/metrics", 405), ("/status", 500)])
def test_errors_have_openais_shape(path: str, status: int) -> None:
    def broken() -> dict[str, object]:
        raise ZeroDivisionError("secret")

    with TestClient(create_admin(bytes, broken), raise_server_exceptions=False) as client:
        response = client.post(path) if status == 405 else client.get(path)

    assert response.status_code == status
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert "secret" not in response.text
