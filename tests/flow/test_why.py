"""Every request can be explained afterwards, whatever became of it, and the dollars are the ledger's."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.demo.teacher.faults import Fault
from gateway.store.home import Home
from gateway.store.state import open_state
from tests.flow.conftest import TEACHER_KEY
from tests.flow.traffic import QUICK, Task
from tests.support.processes import RunningGateway, gateway_process, stepdown
from tests.support.teacher import RunningTeacher
from tests.support.waiting import PATIENCE_S, wait_for

# A head takes some milliseconds: the teacher is asked beside some drafts and not beside others.
POLICIES = """
policies:
  - name: secret
    models: ["secret-*"]
    forbid: true
  - name: poor
    models: ["poor-*"]
    usd_per_day: 0.0
  - name: quick
    alpha: 0.2
    delta: 0.1
    hedge_ms: 4
    audit: {shadow: 0.4, certified: 0.2}
"""
QUESTIONS = 60
IN_FLIGHT = 8
SLOW_MS = 250
"""So that a teacher that was asked beside a draft loses against it."""
Made = tuple[str, str, int]
"""Request id, decision as labeled, status."""


@pytest.fixture(scope="module")
def gateway(home: Path, running: RunningTeacher) -> Iterator[RunningGateway]:
    policies = home.with_name("policies")
    policies.mkdir()
    (policies / "default.yaml").write_text(POLICIES)
    with gateway_process(
        home,
        "--open",
        OPENAI_BASE_URL=running.base_url,
        OPENAI_API_KEY=TEACHER_KEY,
        STEPDOWN_POLICIES_FOLDER=str(policies),
        **QUICK,
    ) as gateway:
        yield gateway


async def send_mixed(task: Task, running: RunningTeacher, known: str) -> list[Made]:
    """Send `known`, answered locally, and new questions among what is refused, cut, or has no budget."""
    questions = [*task.questions(QUESTIONS), *[known] * 10]
    bodies: list[dict[str, Any]] = [
        {"model": "gpt-4o", "messages": task.messages(question)} for question in questions
    ]
    plain = [{"role": "user", "content": "something else"}]
    bodies += [{"model": "secret-1", "messages": plain}, {"model": "poor-1", "messages": plain}] * 5
    bodies += [{"model": "gpt-4o", "messages": plain}, {"model": "gpt-4o", "messages": "none"}] * 5
    random.Random(0).shuffle(bodies)
    places = asyncio.Semaphore(IN_FLIGHT)
    async with aiohttp.ClientSession(
        f"{task.gateway.base_url}/", timeout=aiohttp.ClientTimeout(PATIENCE_S)
    ) as session:

        async def send(path: str, body: dict[str, Any]) -> Made:
            async with places, session.post(path, json=body) as got:
                await got.read()
                labels = got.headers
                decision = labels.get("x-stepdown-decision", "")
                return labels["x-stepdown-request-id"], decision, got.status

        made = await asyncio.gather(*(send("chat/completions", body) for body in bodies))
        made.append(await send("../nothing-is-here", {}))
        running.control.fail_next(Fault(cut_after=100, is_chunked=True))
        cut = {"model": "gpt-4o", "messages": plain, "stream": True}
        made.append(await send("chat/completions", cut))
    return made


@pytest.fixture(scope="module")
def made(gateway: RunningGateway, running: RunningTeacher) -> list[Made]:
    task = Task(gateway, running, "Sort the ticket. Answer with one label.")
    asyncio.run(task.certify())
    running.control.latency_ms = SLOW_MS
    known = asyncio.run(task.local_question())
    made = asyncio.run(send_mixed(task, running, known))
    wait_for(lambda: not any(gateway.status()["waiting"].values()), "not everything is written")
    return made


def explain(gateway: RunningGateway, request_id: str) -> dict[str, Any]:
    got = gateway.ask_admin("GET", f"/admin/decisions/{request_id}")
    assert got.status == 200, got.body
    return dict(json.loads(got.body))


def test_every_request_is_explained_as_it_was_answered(gateway: RunningGateway, made: list[Made]) -> None:
    found = Counter[str]()
    for request_id, decision, status in made:
        explanation = explain(gateway, request_id)
        found[explanation["decision"]] += 1
        found["hedged"] += explanation["is_hedged"]
        found["cut"] += not explanation["is_whole"]
        assert explanation["status"] == status
        # An audit is hidden from its caller, not from the operator.
        assert decision in (
            explanation["decision"],
            "escalated" if explanation["decision"] == "audit" else "",
        )
        assert explanation["other_way"].endswith(".")

    assert found["local"] > 0
    assert found["refused"] == 5 + 5 + 5 + 1
    assert found["cut"] == 1
    assert found["escalated"] >= 5


def test_its_dollars_are_those_of_the_ledger(gateway: RunningGateway, made: list[Made]) -> None:
    with open_state(Home(gateway.home)) as state:
        ids = {each.row.request_id for each in state.decisions.newest(1_000_000, lambda _: True)}
        totals = state.spend.totals()
        booked = [each.row for request_id in ids for each in state.decisions.find(request_id)]

    assert {request_id for request_id, _, _ in made} <= ids
    assert sum(row.usd for row in booked) == pytest.approx(totals.usd, abs=1e-9)
    assert sum(row.counterfactual_usd for row in booked) == pytest.approx(totals.counterfactual_usd, abs=1e-9)


def test_why_prints_what_fits_a_terminal(gateway: RunningGateway, made: list[Made]) -> None:
    for decision in ("local", "refused"):
        request_id = next(request_id for request_id, labeled, _ in made if labeled == decision)

        got = stepdown(gateway.home, "why", request_id)

        assert got.returncode == 0, got.stderr
        assert request_id in got.stdout
        assert decision in got.stdout
        assert max(map(len, got.stdout.splitlines())) <= 80


def test_the_last_decisions_are_listed_by_what_they_were(gateway: RunningGateway, made: list[Made]) -> None:
    got = stepdown(gateway.home, "why", "--last", "3", "--status", "403", "--json")

    rows = [json.loads(line) for line in got.stdout.splitlines()]
    assert [(row["row"]["policy"], row["reason"]) for row in rows] == [("secret", "forbidden by policy")] * 3


def test_an_unknown_id_is_said_to_be_unknown(gateway: RunningGateway) -> None:
    got = gateway.ask_admin("GET", f"/admin/decisions/{'0' * 32}")
    told = stepdown(gateway.home, "why", "0" * 32)
    wrong = stepdown(gateway.home, "why", "req-1")

    assert (got.status, told.returncode, wrong.returncode) == (404, 1, 2)
