"""Processes that are killed or stopped are replaced, and answers go on meanwhile."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from gateway.store.home import Home
from tests.faults.conftest import QUIET, ask_often
from tests.support.processes import ROOT, RunningGateway, children, gateway_process, is_alive
from tests.support.teacher import RunningTeacher
from tests.support.waiting import wait_for

WORKER = "gateway.processes.worker"
LEARNER = "gateway.processes.learner"
HOST = "gateway.specialists.host.process"


def find_all(gateway: RunningGateway, module: str) -> list[int]:
    return [pid for pid, name in children(gateway.process.pid).items() if name == module]


def is_at_work(gateway: RunningGateway, module: str) -> bool:
    match module:
        case "gateway.processes.worker":
            return ask_often(gateway, 8) == [200] * 8
        case "gateway.processes.learner":
            return Home(gateway.home).learner_progress.exists()
    return bool(gateway.status()["specialists_ready"])


@pytest.mark.parametrize("module", [WORKER, LEARNER, HOST])
def test_a_stopped_process_is_replaced(tmp_path: Path, running: RunningTeacher, module: str) -> None:
    """Before, half of all requests hung for as long as one of two workers was stopped."""
    with gateway_process(
        tmp_path / "home", "--open", "--workers", "2", OPENAI_BASE_URL=running.base_url
    ) as gateway:
        wait_for(lambda: len(find_all(gateway, WORKER)) == 2, "two workers")
        stopped = wait_for(lambda: find_all(gateway, module), f"no {module}")[0]
        # It must have given a sign of life: until then it has a minute.
        wait_for(lambda: is_at_work(gateway, module), f"{module} does not work")
        os.kill(stopped, signal.SIGSTOP)

        wait_for(lambda: not is_alive(stopped), "it is not replaced")

        wait_for(lambda: len(find_all(gateway, module)) == (2 if module == WORKER else 1), "none is new")
        assert ask_often(gateway, 32) == [200] * 32
        assert "has been still for 10 s and is replaced" in gateway.log()


def test_no_connection_waits_for_a_worker_that_stands_still(tmp_path: Path, running: RunningTeacher) -> None:
    """The kernel gives a stopped worker its share of them; before, they waited until it was replaced."""
    with gateway_process(
        tmp_path / "home", "--open", "--workers", "2", OPENAI_BASE_URL=running.base_url, **QUIET
    ) as gateway:
        wait_for(lambda: len(find_all(gateway, WORKER)) == 2, "two workers")
        wait_for(lambda: is_at_work(gateway, WORKER), "they do not work")
        stopped = find_all(gateway, WORKER)[0]
        os.kill(stopped, signal.SIGSTOP)

        assert ask_often(gateway, 32) == [200] * 32

        assert find_all(gateway, WORKER)[0] == stopped, "it was replaced meanwhile"


SPIN_WHEN_TOLD = """
import signal
from gateway.ipc import heartbeat

def spin(*_):
    while True:
        pass

heartbeat.SPINNING_CPU_S = 2.0  # a minute, less the patience of this test
signal.signal(signal.SIGUSR1, spin)
"""


@pytest.mark.parametrize("module", [WORKER, HOST])
def test_a_process_whose_loop_computes_without_end_is_replaced(
    tmp_path: Path, running: RunningTeacher, module: str
) -> None:
    """Of two workers, half of all requests hung for ever."""
    (tmp_path / "sitecustomize.py").write_text(SPIN_WHEN_TOLD)
    with gateway_process(
        tmp_path / "home", "--open", "--workers", "2", OPENAI_BASE_URL=running.base_url,
        PYTHONPATH=f"{tmp_path}:{ROOT}", **QUIET,
    ) as gateway:  # fmt: skip
        wait_for(lambda: len(find_all(gateway, WORKER)) == 2, "two workers")
        spinning = wait_for(lambda: find_all(gateway, module), f"no {module}")[0]
        wait_for(lambda: is_at_work(gateway, module), f"{module} does not work")
        os.kill(spinning, signal.SIGUSR1)

        wait_for(lambda: not is_alive(spinning), "it is not replaced")

        wait_for(lambda: len(find_all(gateway, module)) == (2 if module == WORKER else 1), "none is new")
        assert ask_often(gateway, 32) == [200] * 32
        assert "has computed for 2 s in one step and is replaced" in gateway.log()


@pytest.mark.parametrize("module", [LEARNER, HOST])
def test_a_killed_helper_costs_no_answer(tmp_path: Path, running: RunningTeacher, module: str) -> None:
    with gateway_process(tmp_path / "home", "--open", OPENAI_BASE_URL=running.base_url) as gateway:
        killed = gateway.kill(module)

        assert ask_often(gateway) == [200] * 20

        wait_for(lambda: gateway.child(module) not in (None, killed), "it does not come back")


def test_a_hangup_ends_nothing(tmp_path: Path, running: RunningTeacher) -> None:
    with gateway_process(tmp_path / "home", "--open", OPENAI_BASE_URL=running.base_url, **QUIET) as gateway:
        worker = wait_for(lambda: gateway.child(WORKER), "no worker")

        for pid in (gateway.process.pid, worker):
            os.kill(pid, signal.SIGHUP)

        assert ask_often(gateway) == [200] * 20
        assert gateway.child(WORKER) == worker
        assert gateway.process.poll() is None


def test_only_workers_have_the_providers_key(tmp_path: Path, running: RunningTeacher) -> None:
    with gateway_process(
        tmp_path / "home", "--open", OPENAI_BASE_URL=running.base_url, OPENAI_API_KEY="sk-provider-secret"
    ) as gateway:
        wait_for(lambda: gateway.child(LEARNER) and gateway.child(HOST), "not all run")

        holders = {
            name
            for pid, name in children(gateway.process.pid).items()
            if b"sk-provider-secret" in Path(f"/proc/{pid}/environ").read_bytes()
        }

        assert holders == {WORKER}


def test_all_that_a_gateway_keeps_is_for_its_owner_only(tmp_path: Path, running: RunningTeacher) -> None:
    """Also what an earlier version, or a careless hand, has left open."""
    home = tmp_path / "home"
    (home / "harvest").mkdir(parents=True)
    (home / "learner.json").write_text("{}")
    for path in (home, home / "harvest"):
        path.chmod(0o755)
    with gateway_process(home, "--open", OPENAI_BASE_URL=running.base_url) as gateway:
        assert ask_often(gateway, 2) == [200] * 2
        wait_for(lambda: not any(gateway.status()["waiting"].values()), "something waits")

        modes = {path: path.lstat().st_mode & 0o077 for path in (home, *home.rglob("*"))}

        assert {str(path) for path, mode in modes.items() if mode} == set()
