"""The admin application: who may see and change what, and errors in the shape of all others."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest
from litestar.testing import TestClient

from gateway.api.admin.app import create_admin
from gateway.api.admin.inventory import Inventory
from gateway.api.admin.models import TaskChange, TaskReport
from gateway.api.admin.plane import AdminPlane
from gateway.core import Certification
from gateway.errors import ConfigError
from gateway.harvest.reader import Count
from gateway.store.admin_tokens import AdminToken, Role

TEMPLATE = "Sort the ticket of Alice Miller."


def report(**changed: Any) -> TaskReport:
    fields: dict[str, Any] = {
        "task": "task-1", "name": "tickets", "scope": "all", "model": "gpt-4o", "template_text": TEMPLATE,
        "adopted_at": 0.0, "stage": Certification(task="task-1").stage, "version": None, "is_serving": False,
        "because": "no specialist yet", "freeze": None, "frozen_by": "", "alarms": 0, "seen_alarm": None,
        "targets": (), "certificates": (), "note": "", "rows": Count(),
    }  # fmt: skip
    return TaskReport(**fields | changed)


class Plane:
    """An admin plane with one task, whose tokens are the names of their roles."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, str | None, str, bool]] = []

    def render_metrics(self) -> bytes:
        return b"up 1\n"

    def report_status(self) -> dict[str, Any]:
        raise ZeroDivisionError("secret")

    def find_token(self, plain: str) -> AdminToken | None:
        roles: dict[str, tuple[Role, ...]] = {
            "view": ("view",),
            "content": ("content",),
            "operate": ("operate",),
        }
        if plain not in roles:
            return None
        return AdminToken(id="token-1", name=f"{plain}er", roles=roles[plain], created_at=0.0)

    def list_tasks(self) -> list[TaskReport]:
        return [report()]

    def show_task(self, task: str) -> TaskReport:
        if task != "tickets":
            raise ConfigError(f"no task has the id or name '{task}'")
        return report()

    def change_freeze(self, actor: str, task: str | None, note: str, *, is_frozen: bool) -> TaskChange:
        self.changes.append((actor, task, note, is_frozen))
        return TaskChange(task=task, is_changed=True)


class Things:
    """What a gateway has: a key, and a row of one request."""

    def list_keys(self) -> list[dict[str, Any]]:
        return [{"id": "key-1", "name": "shop"}]

    def list_rows(self, task: str | None, last: int) -> list[dict[str, Any]]:
        return [{"text": TEMPLATE, "messages": msgspec.Raw(b"[1]")}][:last]

    def show_row(self, request_id: str) -> dict[str, Any] | None:
        return {"rows": []} if request_id == "known" else None


def client_of(plane: Plane, *, is_loopback: bool = True) -> TestClient[Any]:
    app = create_admin(cast("AdminPlane", plane), cast("Inventory", Things()), is_loopback=is_loopback)
    return TestClient(app, raise_server_exceptions=False)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_metrics_are_prometheus_text() -> None:
    with client_of(Plane()) as client:
        response = client.get("/metrics")

    assert response.content == b"up 1\n"
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nowhere", 404),
        ("/admin/nowhere", 404),
        ("/metrics", 405),
        ("/status", 500),
        ("/admin/tasks/x", 400),
    ],
)
def test_errors_have_openais_shape(path: str, status: int) -> None:
    with client_of(Plane()) as client:
        response = client.post(path) if status == 405 else client.get(path)

    assert response.status_code == status
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert "secret" not in response.text


@pytest.mark.parametrize(
    ("token", "is_loopback", "path", "status"),
    [
        (None, True, "/admin/tasks", 200),
        (None, False, "/admin/tasks", 401),
        (None, False, "/metrics", 401),
        (None, False, "/healthz", 200),
        (None, True, "POST /admin/freeze", 401),
        ("view", False, "/metrics", 200),
        ("view", True, "POST /admin/freeze", 403),
        ("content", True, "POST /admin/freeze", 403),
        ("operate", False, "POST /admin/freeze", 200),
        ("operate", False, "/admin/tasks", 200),
        ("revoked", True, "/admin/tasks", 401),
        ("", True, "/admin/tasks", 401),
        (None, True, "/admin/keys", 200),
        (None, False, "/admin/keys", 401),
        (None, True, "/admin/harvest/rows", 401),
        ("view", True, "/admin/harvest/rows", 403),
        ("operate", True, "/admin/harvest/rows/known", 403),
        ("content", False, "/admin/harvest/rows", 200),
        ("content", True, "/admin/harvest/rows/unknown", 404),
    ],
)
def test_a_role_opens_what_it_stands_for(
    token: str | None, is_loopback: bool, path: str, status: int
) -> None:
    headers = {} if token is None else bearer(token)
    with client_of(Plane(), is_loopback=is_loopback) as client:
        if path.startswith("POST "):
            response = client.post(path[5:], json={}, headers=headers)
        else:
            response = client.get(path, headers=headers)

    assert response.status_code == status


@pytest.mark.parametrize(
    ("headers", "shown"), [({}, ""), (bearer("operate"), ""), (bearer("content"), TEMPLATE)]
)
def test_texts_of_apps_are_for_the_role_content(headers: dict[str, str], shown: str) -> None:
    with client_of(Plane()) as client:
        [task] = client.get("/admin/tasks", headers=headers).json()
        same = client.get("/admin/tasks/tickets", headers=headers).json()

    assert (task["name"], task["template_text"], same["template_text"]) == ("tickets", shown, shown)


def test_rows_are_json_all_the_way_down() -> None:
    with client_of(Plane()) as client:
        rows = client.get("/admin/harvest/rows?last=1", headers=bearer("content")).json()

    assert rows == [{"text": TEMPLATE, "messages": [1]}]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"nte": "x"}', "unknown field `nte`"),
        (b'{"note": "%s"}' % (b"x" * 501), "length <= 500"),
        (b"[" * 100_000, "nested too deeply"),
        (b"{", "truncated"),
    ],
)
def test_a_wrong_body_is_answered_with_what_is_wrong(body: bytes, said: str) -> None:
    with client_of(Plane()) as client:
        response = client.post("/admin/freeze", content=body, headers=bearer("operate"))

    assert response.status_code == 400
    assert said in response.json()["error"]["message"]


def test_a_freeze_needs_no_note() -> None:
    plane = Plane()
    with client_of(plane) as client:
        assert client.post("/admin/freeze", headers=bearer("operate")).status_code == 200

    assert plane.changes == [("token:operateer", None, "", True)]


def test_a_change_is_made_in_the_name_of_the_token() -> None:
    plane = Plane()
    with client_of(plane) as client:
        client.post("/admin/tasks/tickets/freeze", json={"note": "odd answers"}, headers=bearer("operate"))
        client.post("/admin/unfreeze", headers=bearer("operate"))
        wrong = client.post("/admin/freeze", json={"notes": "x"}, headers=bearer("operate"))

    assert plane.changes == [
        ("token:operateer", "tickets", "odd answers", True),
        ("token:operateer", None, "", False),
    ]
    assert wrong.status_code == 400


def test_the_openapi_document_names_every_path() -> None:
    with client_of(Plane()) as client:
        document = client.get("/admin/openapi.json").json()

    assert {"/metrics", "/status", "/admin/tasks/{task}/freeze", "/admin/decisions/{request_id}"} <= set(
        document["paths"]
    )
    assert {"Explanation", "TaskReport", "Verdict"} <= set(document["components"]["schemas"])
