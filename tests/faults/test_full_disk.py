"""A disk that is full, or cannot be written, costs no answer, and all is well soon after it ends."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from gateway.demo.teacher.faults import Fault
from gateway.harvest.reader import HarvestReader
from tests.api.site_server import CHAT, ask_on, chat_body
from tests.faults.conftest import QUIET, ask_often
from tests.support.processes import RunningGateway, environment, gateway_process, stepdown
from tests.support.small_disk import SmallDisk, small_disk
from tests.support.teacher import RunningTeacher
from tests.support.waiting import wait_for

WORKER = "gateway.processes.worker"
OWN_KEY = {"OPENAI_API_KEY": "sk-provider", **QUIET}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", megabytes=16) as disk:
        yield disk


def count_rows(home: Path) -> int:
    counts = HarvestReader(home / "harvest").counts().values()
    return sum(count.training + count.held_out for count in counts)


def wait_until_healed(gateway: RunningGateway) -> None:
    """Wait until nothing waits for the disk any more; `loadtests.faults` measures how long that takes."""
    wait_for(lambda: not any(gateway.status()["waiting"].values()), "something still waits for the disk")


def test_a_full_disk_costs_no_answer_and_no_row(disk: SmallDisk, running: RunningTeacher) -> None:
    """New statuses are new metrics: where these lay on the disk, each could kill the worker."""
    with gateway_process(
        disk.folder / "home", "--open", OPENAI_BASE_URL=running.base_url, **QUIET
    ) as gateway:
        assert ask_often(gateway, 2) == [200] * 2
        worker = wait_for(lambda: gateway.child(WORKER), "no worker")
        disk.fill()

        statuses = (400, 402, 404, 410, 413, 415, 422, 451)
        for status in statuses:
            running.control.fail_next(Fault(status=status))
            assert gateway.chat(model="gpt-4o").status == status
        assert ask_often(gateway) == [200] * 20

        assert gateway.child(WORKER) == worker
        disk.empty()
        wait_until_healed(gateway)
        assert set(gateway.status()["dropped"].values()) == {0}


def test_what_a_full_disk_did_not_take_is_counted_at_the_end(
    disk: SmallDisk, running: RunningTeacher
) -> None:
    """In one line, and in the metrics, which outlive a worker."""
    with gateway_process(
        disk.folder / "home", "--open", OPENAI_BASE_URL=running.base_url, **QUIET
    ) as gateway:
        worker = wait_for(lambda: gateway.child(WORKER), "no worker")
        disk.fill()
        assert ask_often(gateway, 20) == [200] * 20

        os.kill(worker, signal.SIGTERM)
        wait_for(lambda: gateway.child(WORKER) not in (None, worker), "the worker does not come back")

        lines = [line for line in gateway.log().splitlines() if "the disk did not take what waited" in line]
        assert len(lines) == 1
        assert "20 rows of the harvest" in lines[0]
        assert "20 decision records" in lines[0]
        dropped = gateway.status()["dropped"]
        assert (dropped["rows"], dropped["decisions"]) == (20, 20)


def test_a_killed_worker_comes_back_on_a_full_disk_and_still_knows_the_keys(
    disk: SmallDisk, running: RunningTeacher
) -> None:
    home = disk.folder / "home"
    key = stepdown(home, "keys", "create", "--name", "app").stdout.strip()
    bearer = {"authorization": f"Bearer {key}"}
    with gateway_process(home, OPENAI_BASE_URL=running.base_url, **OWN_KEY) as gateway:
        disk.fill()
        killed = gateway.kill(WORKER)
        wait_for(lambda: gateway.child(WORKER) not in (None, killed), "the worker does not come back")

        assert gateway.chat(bearer, model="gpt-4o").status != 401
        assert gateway.chat({"authorization": "Bearer sd-wrong"}, model="gpt-4o").status == 401


def test_a_key_that_cannot_be_made_is_said_in_one_line(disk: SmallDisk) -> None:
    home = disk.folder / "home"
    assert stepdown(home, "keys", "create", "--name", "app").returncode == 0
    disk.fill()

    refused = stepdown(home, "keys", "create", "--name", "other")

    assert (refused.returncode, refused.stdout) == (1, "")
    assert "nothing was changed" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert stepdown(home, "keys", "list").stdout.count("\n") == 1


def test_a_gateway_starts_on_a_full_disk(disk: SmallDisk, running: RunningTeacher) -> None:
    home = disk.folder / "home"
    with gateway_process(home, "--open", OPENAI_BASE_URL=running.base_url, **QUIET):
        pass
    disk.fill()

    assert answers_without_run_file(home, running) == [200] * 5


def answers_without_run_file(home: Path, running: RunningTeacher) -> list[int]:
    """Return what a gateway answers whose run file cannot be written."""
    with tempfile.NamedTemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", "--open", "--port", "0", "--admin-port", "0"],
            env=environment(home, OPENAI_BASE_URL=running.base_url, **QUIET),
            stdout=log,
            stderr=log,
        )
        try:
            line = wait_for(lambda: find_line(Path(log.name)), "the gateway does not start")
            port = int(line.partition("/v1")[0].rpartition(":")[2])
            return [ask(port) for _ in range(5)]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def find_line(log: Path) -> str:
    return next((line for line in log.read_text().splitlines() if "listens on" in line), "")


def ask(port: int) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        return ask_on(connection, "POST", CHAT, chat_body(model="gpt-4o"), {}).status
    finally:
        connection.close()


def test_a_home_on_a_read_only_disk_is_refused_in_one_line(disk: SmallDisk, running: RunningTeacher) -> None:
    """Nothing could be harvested, learnt or revoked for as long as it runs."""
    home = disk.folder / "home"
    stepdown(home, "keys", "create", "--name", "app")
    assert disk.make_read_only() == ""

    refused = stepdown(home, "serve", "--open", OPENAI_BASE_URL=running.base_url)

    assert refused.returncode == 2
    assert refused.stderr == f"stepdown: home: {home} cannot be written by this user\n"
    assert stepdown(home, "keys", "list").stdout.count("\n") == 1


def test_a_limit_on_the_size_of_files_costs_no_answer(tmp_path: Path, running: RunningTeacher) -> None:
    """The same fault without a disk: each write beyond the limit fails (EFBIG)."""
    with gateway_process(tmp_path / "home", "--open", OPENAI_BASE_URL=running.base_url, **QUIET) as gateway:
        worker = wait_for(lambda: gateway.child(WORKER), "no worker")
        limits = resource.prlimit(worker, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))

        assert ask_often(gateway) == [200] * 20
        assert gateway.child(WORKER) == worker
        # Not even its numbers can be shown, which are in a file, too: so the disk is asked.
        assert count_rows(tmp_path / "home") == 0

        resource.prlimit(worker, resource.RLIMIT_FSIZE, limits)
        wait_for(lambda: count_rows(tmp_path / "home") == 20, "the rows do not come")
        wait_until_healed(gateway)
        assert gateway.status()["dropped"]["rows"] == 0
