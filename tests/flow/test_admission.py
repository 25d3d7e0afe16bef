"""A gateway that holds the teacher's key admits holders of its own keys, or any client if it is open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from gateway.processes.following import REFRESH_S
from tests.flow.conftest import TEACHER_KEY
from tests.support.processes import RunningGateway, gateway_process, stepdown
from tests.support.teacher import RunningTeacher
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def gateway(home: Path, running: RunningTeacher) -> Iterator[RunningGateway]:
    with gateway_process(
        home,
        OPENAI_BASE_URL=running.base_url,
        OPENAI_API_KEY=TEACHER_KEY,
        STEPDOWN_LEARN_ENABLED="false",
    ) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def key(gateway: RunningGateway) -> str:
    """A gateway key that the workers know."""
    made = stepdown(gateway.home, "keys", "create", "--name", "app").stdout.strip()
    wait_for(lambda: knows(gateway, made), "a new key is not admitted")
    return made


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def knows(gateway: RunningGateway, key: str) -> bool:
    return gateway.ask("GET", "/v1/models", headers=bearer(key)).status == 200


def test_the_teacher_sees_the_gateways_key_and_never_the_clients(
    gateway: RunningGateway, teacher: RunningTeacher, key: str
) -> None:
    with openai.OpenAI(base_url=gateway.base_url, api_key=key, max_retries=0) as client:
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "x"}])
        client.models.list()

    assert {seen.header("authorization")[0] for seen in teacher.control.seen} == {f"Bearer {TEACHER_KEY}"}
    assert not any(key in str(seen.headers) for seen in teacher.control.seen)


@pytest.mark.parametrize(
    "headers", [{}, bearer("sd-wrong"), bearer(TEACHER_KEY)], ids=["no", "bad", "teacher's"]
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/files", "/v1/embeddings"])
def test_no_other_key_is_admitted(
    gateway: RunningGateway, teacher: RunningTeacher, headers: dict[str, str], path: str
) -> None:
    got = gateway.ask("POST", path, b"{}", headers)

    assert (got.status, got.error["code"]) == (401, "invalid_api_key")
    assert teacher.control.requests == 0


def test_a_refusal_of_the_gateways_own_key_is_not_the_clients_error(
    gateway: RunningGateway, teacher: RunningTeacher, key: str
) -> None:
    teacher.control.api_key = "rotated"

    got = gateway.chat(bearer(key))

    assert (got.status, got.error["code"]) == (502, "teacher_credential_rejected")
    assert got.header("x-should-retry") == "false"


def test_a_revoked_key_is_soon_refused(gateway: RunningGateway, teacher: RunningTeacher) -> None:
    """The command promises a second: the workers read the keys again every REFRESH_S."""
    assert REFRESH_S < 1
    made = json.loads(stepdown(gateway.home, "keys", "create", "--name", "gone", "--json").stdout)
    wait_for(lambda: knows(gateway, made["key"]), "a new key is not admitted")

    assert stepdown(gateway.home, "keys", "revoke", made["id"]).returncode == 0

    wait_for(lambda: not knows(gateway, made["key"]), "a revoked key is still admitted")


def test_an_open_gateway_admits_any_client(tmp_path: Path, teacher: RunningTeacher) -> None:
    with gateway_process(
        tmp_path / "home",
        "--open",
        OPENAI_BASE_URL=teacher.base_url,
        OPENAI_API_KEY=TEACHER_KEY,
        STEPDOWN_LEARN_ENABLED="false",
    ) as gateway:
        statuses = [gateway.chat(headers).status for headers in ({}, bearer("anything"))]

    assert statuses == [200, 200]
    assert teacher.control.seen[-1].header("authorization") == [f"Bearer {TEACHER_KEY}"]
