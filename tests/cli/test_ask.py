from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.support.processes import RunningGateway, gateway_process, stepdown
from tests.support.teacher import RunningTeacher


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, teacher: RunningTeacher) -> Iterator[RunningGateway]:
    with gateway_process(
        tmp_path_factory.mktemp("ask") / "home",
        "--open",
        OPENAI_BASE_URL=teacher.base_url,
        OPENAI_API_KEY="sk-teacher",
        STEPDOWN_LEARN_ENABLED="false",
    ) as gateway:
        yield gateway


def test_the_answer_alone_goes_to_standard_output(gateway: RunningGateway) -> None:
    ended = stepdown(gateway.home, "ask", "ping")

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "pong\n", "")


def test_explain_says_who_answered_and_why(gateway: RunningGateway) -> None:
    ended = stepdown(gateway.home, "ask", "ping", "--system", "Play.", "--explain")

    assert ended.stdout == "pong\n"
    assert "  served-by: teacher\n" in ended.stderr
    assert "  decision: escalated\n" in ended.stderr
    assert "  reason: no specialist yet\n" in ended.stderr


def test_a_mode_is_passed_on(gateway: RunningGateway) -> None:
    ended = stepdown(gateway.home, "ask", "ping", "--mode", "local")

    assert ended.returncode == 1
    assert "HTTP 404" in ended.stderr
    assert "no specialist may answer" in ended.stderr


def test_without_a_gateway_it_says_how_to_start_one(command: Command, home: Path) -> None:
    ended = command("ask", "ping")

    assert ended.returncode == 4
    assert ended.stderr == (
        f"stepdown: no gateway runs from {home}: start `stepdown serve`, or name --base-url\n"
    )


def test_an_address_without_a_listener_is_unreachable(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
    ended = command("ask", "ping", "--base-url", f"http://127.0.0.1:{port}/v1")

    assert ended.returncode == 4
    assert f"http://127.0.0.1:{port}/v1 cannot be reached" in ended.stderr


def test_a_gateway_without_its_teacher_says_so(home: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        gateway_process(
            home,
            "--open",
            OPENAI_BASE_URL=f"http://127.0.0.1:{silent.getsockname()[1]}/v1",
            STEPDOWN_LEARN_ENABLED="false",
        ),
    ):
        silent.close()
        ended = stepdown(home, "ask", "ping", "--explain")

    assert ended.returncode == 1
    assert "request-id: " in ended.stderr, "that is when it is asked for"
    assert "HTTP 502" in ended.stderr
    assert "could not be reached" in ended.stderr
