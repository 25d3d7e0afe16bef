"""A specialist on an engine elsewhere, in a whole gateway: certified, serving, never in the way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flow.conftest import TEACHER_KEY
from tests.flow.traffic import QUICK, Task, quick_policies
from tests.support.model_server import ModelServer, model_server, stop_server
from tests.support.ports import find_port
from tests.support.processes import RunningGateway, gateway_process
from tests.support.teacher import RunningTeacher, running_teacher
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def running() -> Iterator[RunningTeacher]:
    """A teacher that keeps its answers from test to test: the specialist is judged by them."""
    with running_teacher(api_key=TEACHER_KEY) as teacher:
        yield teacher


@pytest.fixture(scope="module")
def engine(running: RunningTeacher) -> Iterator[ModelServer]:
    """A server whose model answers as the teacher does."""
    # It goes and comes back, to the same port.
    with model_server(lambda text: running.control.pairs.get(text, "no-idea"), find_port()) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(home: Path, running: RunningTeacher, engine: ModelServer) -> Iterator[RunningGateway]:
    home.parent.joinpath("engine.toml").write_text(
        f"""
        [specialists]
        budget_ms = 3000
        [specialists.engines.pool-a]
        urls = ["{engine.url}"]
        model = "small"
        check_every_s = 0.2
        [learn]
        recipes = ["hosted"]
        [learn.options.hosted]
        engine = "pool-a"
        shots = 4
        """
    )
    with gateway_process(
        home,
        "--open",
        OPENAI_BASE_URL=running.base_url,
        OPENAI_API_KEY=TEACHER_KEY,
        STEPDOWN_CONFIG=str(home.parent / "engine.toml"),
        STEPDOWN_SPECIALISTS_BUDGET_MS="3000",
        STEPDOWN_POLICIES_FOLDER=quick_policies(home.with_name("policies")),
        **QUICK,
    ) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def task(gateway: RunningGateway, running: RunningTeacher) -> Task:
    """A task whose specialist is certified by the engine's own answers."""
    task = Task(gateway, running, "Sort the ticket. Answer with one label.")
    asyncio.run(task.certify())
    return task


async def test_an_engines_model_is_certified_in_shadow_and_serves(task: Task, engine: ModelServer) -> None:
    asked = len(engine.script.requests)

    question = await task.local_question()

    sent = engine.script.requests[-1]
    assert len(engine.script.requests) > asked
    assert task.messages(question)[0]["content"] not in str(sent), "the teacher's prompt stays here"
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant"] * 4 + ["user"]


async def test_a_slow_engine_costs_its_budget_and_no_answer(task: Task, engine: ModelServer) -> None:
    engine.script.delay_s = 8.0
    try:
        began = time.monotonic()
        (reply,) = await task.ask(task.questions(1))
        took = time.monotonic() - began
    finally:
        engine.script.delay_s = 0.0

    assert (reply.status, reply.decision) in {(200, "escalated"), (200, "audit")}
    assert took < 7.0
    await task.local_question()


async def test_another_model_under_the_same_name_revokes_and_must_earn_its_own_certificate(
    task: Task, engine: ModelServer
) -> None:
    """Its drafts are refused at once; the learner takes the version out and certifies the new model."""
    first = task.standing()["version"]
    engine.script.version, engine.script.fingerprint = "2.0", "fp-2"

    replies = await task.ask(task.questions(30), in_flight=2)

    assert replies[-1].decision != "local"
    assert all(reply.status == 200 for reply in replies)
    # The learner may not have had its turn yet.
    wait_for(lambda: task.standing()["version"] != first, "the version stays")
    standing = await task.certify()
    assert standing["version"] > first
    await task.local_question()


async def test_a_killed_engine_leaves_every_answer_to_the_teacher(
    task: Task, engine: ModelServer, running: RunningTeacher
) -> None:
    engine.script.status = 503
    refused = await task.ask(task.questions(10))
    engine.script.status = 200
    questions = task.questions(30)

    stop_server(engine)
    replies = await task.ask(questions)

    assert {reply.status for reply in [*refused, *replies]} == {200}
    assert [reply.text for reply in replies] == list(questions.values())
    assert not [reply for reply in replies if reply.decision == "local"]


async def test_an_engine_that_is_back_serves_under_the_same_certificate(
    task: Task, engine: ModelServer, running: RunningTeacher
) -> None:
    version = task.standing()["version"]
    # The test before may have run in another process.
    stop_server(engine)

    with model_server(engine.script.answer, port=engine.server_address[1]) as again:
        again.script.version, again.script.fingerprint = engine.script.version, engine.script.fingerprint
        await task.local_question()

    assert task.standing()["version"] == version
