"""What the commands print as JSON, the admin plane of a running gateway answers as well."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from gateway.harvest.outbox import Outbox
from gateway.store.home import Home
from tests.cli.test_harvest import TASK, row_of
from tests.cli.test_models import adopt, publish
from tests.support.processes import RunningGateway, gateway_process, stepdown
from tests.support.teacher import RunningTeacher

TWINS = {
    "keys list": "/admin/keys",
    "keys show shop": "/admin/keys/shop",
    "admin tokens list": "/admin/tokens",
    "models list": "/admin/models",
    "teachers list": "/admin/teachers",
    "objects list": "/admin/objects",
    "objects list --tenant web": "/admin/objects?tenant=web",
    "harvest stats": "/admin/harvest",
    "tasks list": "/admin/tasks",
    "sample list": "/admin/sample",
    "sample stats": "/admin/sample/stats",
    "audit verify": "/admin/audit/verify",
    f"harvest show {0:032x}": f"/admin/harvest/rows/{0:032x}",
}
LINES = {"harvest tail -n 2": "/admin/harvest/rows?last=2", "why --last 5": "/admin/decisions?last=5"}
"""Commands that print an object per line."""


@pytest.fixture(scope="module")
def gateway(home: Path, running: RunningTeacher) -> Iterator[RunningGateway]:
    Home(home).make()
    publish(home, TASK, 1)
    adopt(home, "tickets", 1)
    box = Outbox(Home(home).harvest / "worker-0.db")
    for number in range(3):
        assert box.put(msgspec.structs.replace(row_of(TASK, number), at=time.time()))
    box.close()
    for words in ("keys create --name shop --concurrent-requests 5", "objects claim file-1 --tenant web"):
        assert stepdown(home, *words.split()).returncode == 0
    with gateway_process(
        home, OPENAI_BASE_URL=running.base_url, OPENAI_API_KEY="x", STEPDOWN_LEARN_ENABLED="false"
    ) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def token(gateway: RunningGateway) -> str:
    made = stepdown(gateway.home, "admin", "tokens", "create", "--name", "all", "--role", "content", "--json")
    return str(json.loads(made.stdout)["token"])


def ask(gateway: RunningGateway, token: str, path: str) -> Any:
    answer = gateway.ask_admin("GET", path, {"authorization": f"Bearer {token}"})
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def run(gateway: RunningGateway, words: str, running: RunningTeacher) -> str:
    ended = stepdown(
        gateway.home, *words.split(), "--json", OPENAI_BASE_URL=running.base_url, OPENAI_API_KEY="x"
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("words", TWINS)
def test_a_command_has_a_twin(
    gateway: RunningGateway, token: str, running: RunningTeacher, words: str
) -> None:
    assert ask(gateway, token, TWINS[words]) == json.loads(run(gateway, words, running))


@pytest.mark.parametrize("words", LINES)
def test_a_command_of_lines_has_one_too(
    gateway: RunningGateway, token: str, running: RunningTeacher, words: str
) -> None:
    lines = [json.loads(line) for line in run(gateway, words, running).splitlines()]

    assert ask(gateway, token, LINES[words]) == lines
    assert len(lines) == (2 if words.startswith("harvest") else 0)


def test_settings_are_those_of_the_command_but_for_the_key_that_the_process_has_not(
    gateway: RunningGateway, token: str, running: RunningTeacher
) -> None:
    shown = {one["key"]: one for one in ask(gateway, token, "/admin/settings")}
    printed = {one["key"]: one for one in json.loads(run(gateway, "config show", running))}

    assert shown.keys() == printed.keys()
    assert (shown["upstream.api_key"]["value"], printed["upstream.api_key"]["value"]) == ("***", "***")
    assert shown["upstream.base_url"] == printed["upstream.base_url"]


def test_what_is_not_there_is_said_so(gateway: RunningGateway, token: str) -> None:
    asked = {
        "/admin/keys/nobody": 400,
        "/admin/harvest/rows/x": 404,
        f"/admin/harvest/rows?task={quote('a b')}": 400,
        "/admin/harvest/rows?last=0": 400,
    }
    for path, status in asked.items():
        answer = gateway.ask_admin("GET", path, {"authorization": f"Bearer {token}"})
        assert (answer.status, set(json.loads(answer.body))) == (status, {"error"}), path
