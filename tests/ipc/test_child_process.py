from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.ipc.child_process import (
    HEALTHY_AFTER_S,
    REFUSED,
    Child,
    ChildPlan,
    stop_children,
    supervise_children,
)
from tests.support.processes import is_alive
from tests.support.waiting import PATIENCE_S, wait_for

SLEEPS = "import time\ntime.sleep(600)"
ENDS = "raise SystemExit(3)"
STUBBORN = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).touch()
time.sleep(600)
"""

Make = Callable[..., Child]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Return a function that makes a child from the text of its module; all are stopped at the end."""
    made: list[Child] = []

    def child(text: str, *arguments: str, **plan: Any) -> Child:
        (tmp_path / "child_under_test.py").write_text(text)
        search = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
        environment = {"PYTHONPATH": search, **plan.pop("environment", {})}
        made.append(
            Child(
                ChildPlan(
                    name="test",
                    module="child_under_test",
                    arguments=arguments,
                    environment=environment,
                    **plan,
                )
            )
        )
        return made[-1]

    yield child
    for one in made:
        one.stop()


def wait_for_end(child: Child) -> None:
    wait_for(lambda: child.pid is None, "the child does not end")


def test_a_child_runs_until_it_is_stopped(make: Make) -> None:
    child = make(SLEEPS)
    child.keep_alive(0.0)
    pid = child.pid
    child.keep_alive(1.0)

    assert pid is not None
    assert (child.pid, child.restarts) == (pid, 0)
    child.stop()
    assert not is_alive(pid)


def test_a_child_does_not_run_before_it_is_kept_alive(make: Make) -> None:
    assert make(SLEEPS).pid is None


def test_a_dead_child_is_started_again_with_a_growing_pause(make: Make) -> None:
    """0.1 s, then 0.2 s, 0.4 s ... as long as it does not live."""
    child = make(ENDS)
    now = 0.0
    child.keep_alive(now)
    for pause in (0.1, 0.2, 0.4):
        wait_for_end(child)
        child.keep_alive(now)
        starts = child.restarts
        child.keep_alive(now + pause * 0.9)
        assert child.restarts == starts, "too early"
        now += pause
        child.keep_alive(now)
        assert child.restarts == starts + 1


def test_a_child_that_had_recovered_is_started_again_after_the_first_pause(make: Make) -> None:
    child = make(ENDS)
    child.keep_alive(0.0)
    wait_for_end(child)
    child.keep_alive(0.0)
    child.keep_alive(5.0)
    wait_for_end(child)

    died_at = 5.0 + HEALTHY_AFTER_S + 1
    child.keep_alive(died_at)
    child.keep_alive(died_at + 0.11)

    assert child.restarts == 2


def test_a_child_that_ignores_the_request_to_stop_is_killed(make: Make, tmp_path: Path) -> None:
    mark = tmp_path / "up"
    child = make(STUBBORN, str(mark), stop_grace_s=0.1)
    child.keep_alive(0.0)
    wait_for(mark.exists, "the child does not come up")
    pid = child.pid
    assert pid is not None

    child.stop()

    assert not is_alive(pid)


def test_a_child_that_never_ran_can_be_stopped(make: Make) -> None:
    make(SLEEPS).stop()


def test_a_child_gets_its_arguments_environment_and_sockets(make: Make) -> None:
    """It accepts on the inherited socket and answers with its argument and its variable."""
    text = (
        "import os, socket, sys\n"
        "connection, _ = socket.socket(fileno=int(sys.argv[1])).accept()\n"
        "connection.sendall(' '.join([sys.argv[2], os.environ['WORD']]).encode())\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        child = make(text, str(number), "argument", inherited_fds=[number], environment={"WORD": "variable"})
        child.keep_alive(0.0)
        with socket.create_connection(listener.getsockname(), timeout=PATIENCE_S) as connection:
            assert connection.recv(100) == b"argument variable"


def test_an_interrupt_of_the_terminal_does_not_reach_a_child(make: Make) -> None:
    """Ctrl-C goes to a process group: the child has its own."""
    child = make(SLEEPS)
    child.keep_alive(0.0)

    assert child.pid is not None
    assert os.getpgid(child.pid) != os.getpgrp()


def test_a_child_that_others_use_stops_after_them(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "log"
    text = (
        "import pathlib, signal, sys, time\n"
        "def stop(*_):\n"
        "    open(sys.argv[1], 'a').write(sys.argv[2])\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "pathlib.Path(sys.argv[1] + sys.argv[2]).touch()\n"
        "time.sleep(600)\n"
    )
    children = [make(text, str(log), name, stops_last=name == "b") for name in "ba"]

    supervise_children(children, lambda: all(Path(f"{log}{name}").exists() for name in "ab"), tick_s=0.01)
    stop_children(children)

    assert log.read_text() == "ab"


def test_a_killed_child_is_started_again(make: Make) -> None:
    child = make(SLEEPS)
    killed: list[int] = []

    def is_back() -> bool:
        if not killed and child.pid:
            killed.append(child.pid)
            os.kill(child.pid, signal.SIGKILL)
        return bool(killed) and child.restarts == 1

    deadline = time.monotonic() + PATIENCE_S
    supervise_children([child], lambda: is_back() or time.monotonic() > deadline, tick_s=0.01)

    assert child.restarts == 1


def test_a_child_that_refuses_its_configuration_ends_the_supervision(make: Make) -> None:
    """Another start would end the same way, so the caller must see it."""
    child = make("raise SystemExit(2)")
    deadline = time.monotonic() + PATIENCE_S

    supervise_children([child], lambda: time.monotonic() > deadline, tick_s=0.01)

    assert (child.has_refused, child.restarts) == (True, 0)


def test_a_child_that_ran_before_is_started_again_whatever_its_exit_code(make: Make) -> None:
    """A half-written settings file must not end a gateway that serves."""
    child = make(ENDS)
    child.keep_alive(0.0)
    wait_for_end(child)
    child.keep_alive(0.0)
    make("raise SystemExit(2)")
    for now in (1.0, 1.0, 2.0):
        child.keep_alive(now)
        wait_for_end(child)

    assert (child.has_refused, child.restarts) == (False, 2)


def test_wrong_configuration_is_one_line_and_its_own_exit_code() -> None:
    text = (
        "from gateway.ipc.child_process import run_child\n"
        "from gateway.errors import ConfigError\n"
        "def main():\n    raise ConfigError('no')\n"
        "run_child(main)"
    )
    ended = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stderr) == (REFUSED, "stepdown: no\n")


def test_a_process_ends_when_its_parent_is_gone() -> None:
    """Its stdin reaches EOF: no process holds the other end any more."""
    text = (
        "from gateway.ipc.child_process import exit_with_parent\nimport time\n"
        "exit_with_parent()\ntime.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", text], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.close()

        assert process.wait(PATIENCE_S) == -signal.SIGTERM
