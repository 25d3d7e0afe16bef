"""Freezing a task by the command, seen through the API of every worker."""

from __future__ import annotations

import time
from pathlib import Path

from gateway.specialists.runtimes.scripted import Script
from tests.flow.conftest import TEACHER_KEY
from tests.support.processes import RunningGateway, gateway_process, stepdown
from tests.support.scripted_gateway import scripted_gateway
from tests.support.teacher import RunningTeacher
from tests.support.waiting import wait_for

REQUESTS = 12
"""Connections of their own: the kernel spreads them over the workers."""


def ask_specialist(gateway: RunningGateway, name: str) -> list[int]:
    """Return the statuses of requests that name the specialist."""
    return [gateway.chat(model=f"stepdown/{name}").status for _ in range(REQUESTS)]


def test_a_frozen_task_is_served_by_no_worker_within_a_second_nor_after_a_restart(
    tmp_path: Path, teacher: RunningTeacher
) -> None:
    home = tmp_path / "home"
    script = Script(otherwise="from the specialist")
    environment = {"OPENAI_BASE_URL": teacher.base_url, "OPENAI_API_KEY": TEACHER_KEY}
    with scripted_gateway(home, script, "--open", "--workers", "2", **environment) as gateway:
        wait_for(lambda: set(ask_specialist(gateway, "support")) == {200}, "a worker does not serve")

        assert stepdown(home, "tasks", "freeze", "support", "--note", "odd answers").returncode == 0
        frozen_at = time.monotonic()

        wait_for(lambda: set(ask_specialist(gateway, "support")) == {404}, "a worker serves a frozen task")
        assert time.monotonic() - frozen_at < 5, "a busy machine; alone it takes a quarter of a second"
        [task] = gateway.status()["tasks"]
        assert (task["is_serving"], task["because"], task["is_frozen"]) == (False, "frozen", True)
        assert gateway.status()["freezes"][0]["note"] == "odd answers"

    with gateway_process(home, "--open", STEPDOWN_LEARN_ENABLED="false", **environment) as gateway:
        refused = gateway.chat(model="stepdown/support")
        assert (refused.status, b"frozen" in refused.body) == (404, True)

        stepdown(home, "tasks", "unfreeze", "support")

        wait_for(lambda: gateway.chat(model="stepdown/support").status == 200, "it stays frozen")


def test_a_task_can_be_asked_for_by_the_name_that_it_was_given(
    tmp_path: Path, teacher: RunningTeacher
) -> None:
    home = tmp_path / "home"
    environment = {"OPENAI_BASE_URL": teacher.base_url, "OPENAI_API_KEY": TEACHER_KEY}
    with scripted_gateway(home, Script(otherwise="hi"), "--open", **environment) as gateway:
        assert gateway.chat(model="stepdown/intents").status == 404

        assert stepdown(home, "tasks", "rename", "support", "intents").returncode == 0

        wait_for(lambda: gateway.chat(model="stepdown/intents").status == 200, "the name is unknown")
        assert gateway.chat(model="stepdown/support").status == 200, "the id works as well"
