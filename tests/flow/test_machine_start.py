"""A machine among several that starts again: what reaches it in its first moments is answered."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from gateway.specialists.runtimes.scripted import Script
from gateway.store.home import Home
from tests.api.site_server import HttpAnswer, ask_on, chat_body
from tests.flow.conftest import TEACHER_KEY
from tests.support.ports import find_port
from tests.support.processes import gateway_process
from tests.support.scripted_gateway import scripted_gateway
from tests.support.teacher import RunningTeacher
from tests.support.valkey import running_valkey
from tests.support.waiting import PATIENCE_S, wait_for

QUESTION = chat_body(model="stepdown/support")


@contextmanager
def asking(port: int) -> Iterator[Counter[str]]:
    """Ask the specialist on `port` without a pause until the block ends; yield what is answered."""
    answers: Counter[str] = Counter()
    has_ended = threading.Event()

    def ask() -> None:
        while not has_ended.is_set():
            try:
                got = _ask(port)
            except OSError:
                # A load balancer would ask another machine.
                has_ended.wait(0.005)
            else:
                answers[f"{got.status} {got.body.decode()[:100] if got.status != 200 else ''}"] += 1

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        has_ended.set()
        thread.join()


def _ask(port: int) -> HttpAnswer:
    with closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as connection:
        return ask_on(
            connection, "POST", "/v1/chat/completions", QUESTION, {"content-type": "application/json"}
        )


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_balancer_that_has_not_noticed_a_restart_meets_specialists_that_are_loaded(
    tmp_path: Path, teacher: RunningTeacher, workers: str
) -> None:
    home, port = tmp_path / "home", str(find_port())
    flags = ("--open", "--port", port, "--workers", workers)
    with running_valkey() as valkey:
        environment = {
            "OPENAI_BASE_URL": teacher.base_url,
            "OPENAI_API_KEY": TEACHER_KEY,
            "STEPDOWN_STATE_URL": valkey.url,
        }
        with scripted_gateway(home, Script(otherwise="local"), *flags, **environment):
            pass
        Home(home).run_file.unlink(missing_ok=True)

        with (
            asking(int(port)) as answers,
            gateway_process(home, *flags, STEPDOWN_LEARN_ENABLED="false", **environment) as gateway,
        ):
            wait_for(lambda: gateway.ask("GET", "/readyz").status == 200, "it is not ready")
            wait_for(lambda: answers["200 "] >= 20, "no specialist answers")

    assert set(answers) == {"200 "}
