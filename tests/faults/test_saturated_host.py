"""A model host that is full or stands still costs no answer and delays none: the teacher answers in time."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest

from gateway.routing.base import task_name
from gateway.settings import Specialists
from gateway.specialists.host.work_queue import QueueLimits
from gateway.specialists.runtimes.scripted import Script
from tests.api.site_server import HttpAnswer
from tests.support.processes import RunningGateway
from tests.support.scripted_gateway import SCOPE, scripted_gateway
from tests.support.teacher import RunningTeacher
from tests.support.waiting import wait_for
from tests.wire.chat.requests import chat_request

TASK = task_name(chat_request().template, SCOPE)
HOST = "gateway.specialists.host.process"
BUDGET_S = Specialists().budget_ms / 1_000
NEVER_AUDITED = 'policies: [{name: p, models: ["*"], audit: {shadow: 0.0, settling: 0.0, certified: 0.0}}]'
CLIENTS = QueueLimits().waiting + 36
"""More at once than the host's queue holds."""


@pytest.fixture
def gateway(tmp_path: Path, running: RunningTeacher) -> Iterator[RunningGateway]:
    """A gateway whose specialist answers everything but "hang", which takes it for ever."""
    home = tmp_path / "home"
    policies = home / "policies"
    policies.mkdir(parents=True)
    (policies / "default.yaml").write_text(NEVER_AUDITED)
    with scripted_gateway(
        home,
        Script(faults={"hang": "hang"}),
        "--open",
        task=TASK,
        OPENAI_BASE_URL=running.base_url,
        STEPDOWN_POLICIES_FOLDER=str(policies),
        STEPDOWN_SPECIALISTS_BUDGET_MS=str(1_000 * BUDGET_S),
    ) as gateway:
        wait_for(lambda: decision_of(ask(gateway, "hello")) == "local", "the specialist does not serve")
        yield gateway


def ask(gateway: RunningGateway, text: str) -> HttpAnswer:
    return gateway.chat(model="gpt-4o", messages=[{"role": "user", "content": text}])


def decision_of(answer: HttpAnswer) -> str:
    return answer.header("x-stepdown-decision") or ""


def count_reasons(gateway: RunningGateway) -> Counter[str]:
    """Return the escalated requests of the metrics by their reason."""
    connection = HTTPConnection("127.0.0.1", int(gateway.admin_url.rpartition(":")[2]))
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    lines = re.findall(r'stepdown_requests_total\{decision="escalated",reason="([^"]*)".*\} (\S+)', text)
    return Counter({reason: int(float(count)) for reason, count in lines})


@pytest.mark.parametrize("trouble", ["busy", "stopped"])
def test_requests_go_to_the_teacher_in_time_and_are_counted(gateway: RunningGateway, trouble: str) -> None:
    """The host is replaced after 10 (stopped) or 20 s (busy): until then nothing may wait for it."""
    host = wait_for(lambda: gateway.child(HOST), "no host runs")
    with ThreadPoolExecutor(CLIENTS) as clients:
        if trouble == "stopped":
            os.kill(host, signal.SIGSTOP)
        else:
            # Their requests are answered, but these drafts keep every thread of the host.
            [*clients.map(lambda _: ask(gateway, "hang"), range(QueueLimits().threads))]
        wait_for(lambda: gateway.status()["waiting"]["outcomes"] == 0, "outcomes are not counted")
        before = count_reasons(gateway)
        waiting = [clients.submit(ask, gateway, f"hello {number}") for number in range(CLIENTS)]

        began = time.monotonic()
        healthy = [gateway.ask("GET", "/healthz").status for _ in range(20)]
        healthy_s = time.monotonic() - began
        answers = [each.result() for each in waiting]

    assert gateway.child(HOST) == host, "the answers waited until the host was replaced"
    assert Counter(answer.status for answer in answers) == {200: CLIENTS}
    assert Counter(map(decision_of, answers)) == {"escalated": CLIENTS}
    reasons = Counter(answer.header("x-stepdown-reason") for answer in answers)
    assert set(reasons) <= {"late", "overloaded", "host down"}
    assert healthy == [200] * 20
    assert healthy_s < BUDGET_S, "the event loop waited for the host"
    wait_for(lambda: (count_reasons(gateway) - before).total() >= CLIENTS, "they are not counted")
    assert count_reasons(gateway) - before == reasons
