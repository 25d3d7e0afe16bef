"""The process tree: children end with their parent, and a shutdown lets requests in flight end."""

from __future__ import annotations

import http.client
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.demo.teacher.faults import Fault
from gateway.store.home import Home
from tests.api.site_server import CHAT, chat_body
from tests.flow.conftest import TEACHER_KEY
from tests.support.processes import RunningGateway, children, gateway_process, is_alive
from tests.support.teacher import RunningTeacher
from tests.support.waiting import PATIENCE_S, wait_for


@contextmanager
def gateway(home: Path, teacher: RunningTeacher, *flags: str, **more: str) -> Iterator[RunningGateway]:
    with gateway_process(
        home, "--open", *flags, OPENAI_BASE_URL=teacher.base_url, OPENAI_API_KEY=TEACHER_KEY, **more
    ) as running:
        yield running


def test_a_killed_supervisor_ends_its_children_and_can_be_started_again(
    tmp_path: Path, teacher: RunningTeacher
) -> None:
    """Even SIGKILL leaves no orphan on the port, and the same home serves again."""
    home = tmp_path / "home"
    with gateway(home, teacher) as first:
        pids = wait_for(lambda: full_tree(first), "not every child runs")
        first.process.kill()
        first.process.wait(PATIENCE_S)
        wait_for(lambda: not any(map(is_alive, pids)), "a child outlived the supervisor")
    Home(home).run_file.unlink()

    with gateway(home, teacher) as second:
        assert second.chat().status == 200


def full_tree(gateway: RunningGateway) -> list[int]:
    """Return the children once all four kinds run."""
    found = children(gateway.process.pid)
    wanted = {
        "gateway.processes.worker",
        "gateway.processes.admin",
        "gateway.processes.learner",
        "gateway.specialists.host.process",
    }
    return list(found) if set(found.values()) == wanted else []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_shutdown_lets_requests_in_flight_end(
    tmp_path: Path, teacher: RunningTeacher, number: signal.Signals
) -> None:
    """A plain answer and a stream that began before the signal arrive whole; then the exit code is 0."""
    with gateway(tmp_path / "home", teacher, STEPDOWN_LEARN_ENABLED="false") as running:
        teacher.control.fail_next(Fault(delay_ms=300))
        teacher.control.fail_next(Fault(chunk_delay_ms=15))
        plain, stream = (begin(running, stream=is_streamed) for is_streamed in (False, True))
        wait_for(lambda: teacher.control.requests == 2, "the teacher was not asked")

        running.process.send_signal(number)

        answers = [reply.getresponse() for reply in (plain, stream)]
        assert [answer.status for answer in answers] == [200, 200]
        bodies = [answer.read() for answer in answers]
        assert b"chat.completion" in bodies[0]
        assert bodies[1].endswith(b"data: [DONE]\n\n")
        assert running.process.wait(PATIENCE_S) == 0
        assert not Home(running.home).run_file.exists()
        for reply in (plain, stream):
            reply.close()


def begin(gateway: RunningGateway, *, stream: bool) -> http.client.HTTPConnection:
    """Send a request without waiting for its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE_S)
    connection.request("POST", CHAT, chat_body(stream=stream), {"content-type": "application/json"})
    return connection


def test_several_workers_share_the_port_and_the_keys(tmp_path: Path, teacher: RunningTeacher) -> None:
    """After one of two is killed, two serve again, and the counts of both are one sum."""
    with gateway(tmp_path / "home", teacher, "--workers", "2", STEPDOWN_LEARN_ENABLED="false") as running:
        names = wait_for(lambda: workers(running), "two workers do not run")
        running.kill("gateway.processes.worker")
        wait_for(lambda: workers(running) not in ([], names), "the worker stays away")

        assert {running.chat().status for _ in range(20)} == {200}
        wait_for(
            lambda: running.status()["costs"]["by_decision"].get("escalated") == 20, "not all are counted"
        )


def workers(gateway: RunningGateway) -> list[int]:
    """Return both workers; an empty list while one is missing."""
    found = [
        pid for pid, module in children(gateway.process.pid).items() if module == "gateway.processes.worker"
    ]
    return sorted(found) if len(found) == 2 else []
