from __future__ import annotations

import fcntl
import socket
import stat
import threading
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.processes import supervisor
from gateway.processes.supervisor import run_supervisor
from gateway.settings import Server, Settings
from gateway.store.home import Home
from gateway.store.run_file import RunFile, read_run_file, write_run_file
from tests.support.processes import children, gateway_process, is_alive
from tests.support.waiting import PATIENCE_S, wait_for

UNREACHABLE = "http://127.0.0.1:9/v1"


def settings(home: Path, **server: int | str) -> Settings:
    return Settings(home_folder=str(home), server=Server(**{"port": 0, "admin_port": 0, **server}))  # type: ignore[arg-type]


def reason_to_refuse(settings: Settings) -> str:
    """Return why the start was refused; no process was started."""
    with pytest.raises(ConfigError) as exc:
        run_supervisor(settings, {}, lambda _: pytest.fail("it runs"))
    return str(exc.value)


@pytest.mark.parametrize("name", ["port", "admin_port"])
def test_a_taken_port_stops_the_start_and_is_named(tmp_path: Path, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        assert reason_to_refuse(settings(tmp_path, **{name: port})).startswith(
            f"cannot listen on 127.0.0.1 port {port}: "
        )


def test_an_address_of_another_machine_stops_the_start(tmp_path: Path) -> None:
    assert "cannot listen on 192.0.2.1 port 0" in reason_to_refuse(settings(tmp_path, host="192.0.2.1"))


def test_a_host_without_an_address_stops_the_start(tmp_path: Path) -> None:
    assert "cannot listen on no.such.host.invalid" in reason_to_refuse(
        settings(tmp_path, host="no.such.host.invalid")
    )


def test_a_home_has_one_gateway(tmp_path: Path) -> None:
    """Two would both train, both audit, and count everything twice."""
    with Home(tmp_path).lock.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        assert "STEPDOWN_HOME" in reason_to_refuse(settings(tmp_path))


def test_a_home_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert str(tmp_path / "file" / "home") in reason_to_refuse(settings(tmp_path / "file" / "home"))


def test_a_running_gateway_writes_its_address_and_removes_it_at_its_end(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with gateway_process(home, "--open", OPENAI_BASE_URL=UNREACHABLE) as gateway:
        run = read_run_file(Home(home))
        assert run.pid == gateway.process.pid
        assert gateway.ask("GET", "/healthz").status == 200
        gateway.process.terminate()
        assert gateway.process.wait(PATIENCE_S) == 0

    assert not Home(home).run_file.exists()


def test_a_gateway_that_is_ready_late_is_announced_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A new machine that starts while Valkey is away is ready when that is back."""
    monkeypatch.setattr(supervisor, "READY_LIMIT_S", 0.0)
    monkeypatch.setattr(supervisor, "LATE_POLL_S", 0.01)
    answers = iter([False] * 5)
    monkeypatch.setattr(supervisor, "_is_ready", lambda _: next(answers, True))
    announced: list[RunFile] = []
    with socket.create_server(("127.0.0.1", 0)) as public, socket.create_server(("127.0.0.1", 0)) as admin:
        supervisor._announce_when_ready(public, admin, Home(tmp_path), announced.append, threading.Event())

    assert announced == [read_run_file(Home(tmp_path))]
    assert capfd.readouterr().err.count("no worker is ready yet") == 1


def test_a_supervisor_that_is_stopped_leaves_no_process_behind(tmp_path: Path) -> None:
    with gateway_process(tmp_path / "home", "--open", OPENAI_BASE_URL=UNREACHABLE) as gateway:
        pids = wait_for(lambda: children(gateway.process.pid), "no child runs")
        gateway.process.terminate()
        assert gateway.process.wait(PATIENCE_S) == 0

    assert not any(map(is_alive, pids))


def test_a_home_is_for_its_owner_only(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        reason_to_refuse(settings(home, port=taken.getsockname()[1]))

    assert stat.S_IMODE(home.stat().st_mode) == 0o700


@pytest.mark.parametrize("variable", ["STEPDOWN_LEARN_ENABLED", "STEPDOWN_HARVEST_ENABLED"])
def test_without_learning_or_harvest_there_is_no_learner(tmp_path: Path, variable: str) -> None:
    with gateway_process(
        tmp_path / "home", "--open", OPENAI_BASE_URL=UNREACHABLE, **{variable: "false"}
    ) as gateway:
        wait_for(lambda: gateway.child("gateway.specialists.host.process"), "no model host")

        assert "gateway.processes.learner" not in children(gateway.process.pid).values()


def test_the_run_file_survives_being_read(tmp_path: Path) -> None:
    """Readers get what the supervisor wrote."""
    run = RunFile(pid=1, url="http://127.0.0.1:1", admin_url="http://127.0.0.1:2")
    write_run_file(Home(tmp_path), run)

    assert read_run_file(Home(tmp_path)) == run
