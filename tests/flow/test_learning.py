"""The loop: from the teacher's answers comes a certified specialist that answers in its place."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from gateway.harvest.reader import HarvestReader
from gateway.registry.models import Registry
from gateway.specialists.learnt import read_learnt_texts
from gateway.store.home import Home
from tests.api.site_server import HttpAnswer
from tests.flow.conftest import TEACHER_KEY
from tests.flow.traffic import LABELS, QUICK, Task, quick_policies
from tests.support.processes import RunningGateway, gateway_process, stepdown
from tests.support.teacher import RunningTeacher, running_teacher
from tests.support.waiting import PATIENCE_S, wait_for

HOST, LEARNER, WORKER = (
    "gateway.specialists.host.process",
    "gateway.processes.learner",
    "gateway.processes.worker",
)


@pytest.fixture(scope="module")
def running() -> Iterator[RunningTeacher]:
    """A teacher that keeps its answers from test to test: the specialist learned from them is shared."""
    with running_teacher(api_key=TEACHER_KEY) as teacher:
        yield teacher


@pytest.fixture(scope="module")
def gateway(home: Path, running: RunningTeacher) -> Iterator[RunningGateway]:
    with gateway_process(
        home,
        "--open",
        OPENAI_BASE_URL=running.base_url,
        OPENAI_API_KEY=TEACHER_KEY,
        STEPDOWN_POLICIES_FOLDER=quick_policies(home.with_name("policies")),
        **QUICK,
    ) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def task(gateway: RunningGateway, running: RunningTeacher) -> Task:
    """A task whose specialist is certified."""
    task = Task(gateway, running, "Sort the ticket. Answer with one label.")
    asyncio.run(task.certify())
    return task


@pytest.fixture
async def question(task: Task) -> str:
    """A question that the specialist answers."""
    return await task.local_question()


async def ask_unaudited(task: Task, **fields: Any) -> HttpAnswer:
    """Ask a question that the specialist answers; ask another one if a new minute made this one an audit."""
    while True:
        got = ask(task, await task.local_question(), **fields)
        if got.header("x-stepdown-decision") != "audit":
            return got


def ask(task: Task, question: str, headers: dict[str, str] | None = None, **fields: object) -> HttpAnswer:
    return task.gateway.chat(
        {"content-type": "application/json", **(headers or {})},
        messages=task.messages(question),
        **fields,
    )


async def test_specialists_answer_as_the_teacher_would(task: Task) -> None:
    """What was certified holds, with room: the labels are far apart."""
    questions = task.questions(100)

    replies = await task.ask(questions)

    local = [reply for reply in replies if reply.decision == "local"]
    assert len(local) > 30
    assert sum(reply.text == questions[reply.question] for reply in local) >= 0.9 * len(local)


async def test_a_local_answer_costs_the_teacher_nothing(task: Task, teacher: RunningTeacher) -> None:
    while True:
        question = await task.local_question()
        teacher.control.forget()
        got = ask(task, question)
        if got.header("x-stepdown-decision") != "audit":
            break

    assert (got.header("x-stepdown-decision"), teacher.control.requests) == ("local", 0)


async def test_a_local_answer_has_openais_exact_shape(task: Task) -> None:
    got = await ask_unaudited(task)

    answer = got.json
    assert got.header("x-stepdown-decision") == "local", got.header("x-stepdown-reason")
    assert got.header("content-type") == "application/json"
    assert got.header("x-request-id")
    assert got.header("x-simulated-teacher") is None
    assert set(answer) == {
        "id", "object", "created", "model", "choices", "usage", "service_tier", "system_fingerprint",
    }  # fmt: skip
    assert (answer["object"], answer["model"]) == ("chat.completion", "gpt-4o")
    assert answer["id"].startswith("chatcmpl-")
    (choice,) = answer["choices"]
    assert choice.pop("message") == {
        "role": "assistant",
        "content": choice_text(answer, got.body),
        "refusal": None,
        "annotations": [],
    }
    assert choice == {"index": 0, "logprobs": None, "finish_reason": "stop"}
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0


def choice_text(answer: dict[str, Any], body: bytes) -> str:
    """Return the text, which must be a label."""
    text = str(json.loads(body)["choices"][0]["message"]["content"])
    assert text in LABELS, answer
    return text


async def test_the_official_client_reads_a_local_stream(task: Task) -> None:
    with openai.OpenAI(base_url=task.gateway.base_url, api_key="any", max_retries=0) as client:
        while True:
            raw = client.chat.completions.with_raw_response.create(  # type: ignore[call-overload]
                model="gpt-4o",
                messages=task.messages(await task.local_question()),
                stream=True,
                stream_options={"include_usage": True},
            )
            chunks = list(raw.parse())
            if raw.headers["x-stepdown-decision"] != "audit":
                break

    assert raw.headers["x-stepdown-decision"] == "local"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) in LABELS
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert not chunks[-1].choices
    assert chunks[-1].usage is not None
    assert len({chunk.id for chunk in chunks}) == 1


async def test_a_local_stream_has_openais_exact_shape(task: Task) -> None:
    got = await ask_unaudited(task, stream=True)

    assert got.header("x-stepdown-decision") == "local", got.header("x-stepdown-reason")
    assert got.header("content-type") == "text/event-stream; charset=utf-8"
    events = got.body.decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    assert all(
        set(chunk) == {"id", "object", "created", "model", "choices", "service_tier", "system_fingerprint"}
        for chunk in chunks
    )
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert chunks[-1]["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}


IMAGE = [
    {"type": "text", "text": "x"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"n": 2}, "n > 1"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"store": True}, "store"),
        ({"messages": [{"role": "user", "content": IMAGE}]}, "image part"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_request_beyond_a_specialist_goes_to_the_teacher(
    task: Task, question: str, fields: dict[str, Any], reason: str
) -> None:
    got = task.gateway.chat(**{"messages": task.messages(question), **fields})

    assert (got.status, got.header("x-stepdown-decision")) == (200, "bypass")
    assert got.header("x-stepdown-reason") == reason
    assert got.header("x-simulated-teacher") == "true"


async def test_logprobs_come_from_the_model_that_has_them(task: Task) -> None:
    """A classifier has no logprobs of its answer's tokens."""
    got = await ask_unaudited(task, logprobs=True)

    assert (got.status, got.header("x-stepdown-reason")) == (200, "draft has no logprobs")
    assert got.header("x-simulated-teacher") == "true"


@pytest.mark.parametrize(
    ("headers", "fields"),
    [({}, {"store": False}), ({"x-stepdown-harvest": "off"}, {})],
    ids=["store: false", "x-stepdown-harvest: off"],
)
async def test_an_opted_out_request_is_never_on_disk(
    task: Task, home: Path, headers: dict[str, str], fields: dict[str, Any]
) -> None:
    secret = f"a secret ticket {time.monotonic_ns()}"
    known = f"a known ticket {time.monotonic_ns()}"

    assert ask(task, secret, {**headers, "x-stepdown-mode": "teacher"}, **fields).status == 200
    # Harvested in order: once the second is there, the first would be there, too.
    assert ask(task, known, {"x-stepdown-mode": "shadow"}).status == 200

    files = Home(home).harvest.glob("worker-*.db*")
    wait_for(lambda: known.encode() in on_disk(home), "the harvest is not written")
    assert not any(secret.encode() in file.read_bytes() for file in files)


def on_disk(home: Path) -> bytes:
    return b"".join(str(row).encode() for batch in rows(home) for row in batch)


def rows(home: Path) -> Iterator[list[Any]]:
    reader = HarvestReader(Home(home).harvest)
    for task in reader.counts():
        yield reader.rows(task).rows


async def test_a_specialist_is_listed_beside_the_teachers_models(task: Task) -> None:
    with openai.OpenAI(base_url=task.gateway.base_url, api_key="any", max_retries=0) as client:
        known = {model.id: model.owned_by for model in client.models.list()}
        own = [name for name in known if name.startswith("stepdown/")]

        assert known == {"gpt-4o": "simulated-teacher", **dict.fromkeys(own, "stepdown")}
        assert len(own) == 2, "by its task's name and by its id"
        assert [client.models.retrieve(name).owned_by for name in own] == ["stepdown", "stepdown"]


async def test_a_specialist_that_learnt_what_is_forgotten_gives_way_to_one_that_did_not(
    task: Task, home: Path
) -> None:
    """The teacher answers until the next version is certified, and every client is answered meanwhile."""
    lesson = next(
        row for batch in rows(home) for row in batch if row.task == task.route and not row.is_held_out
    )
    before = Registry(Home(home).registry).versions(task.route)

    receipt = json.loads(stepdown(home, "harvest", "forget", "--request", lesson.request_id, "--json").stdout)

    assert receipt["rows"] == 1
    assert f"{task.route}/{before[-1]}" in receipt["withdrawn"]

    # On the evidence that stays its successor may be certified before anybody looks.
    def gives_way() -> bool:
        standing, registry = task.standing(), Registry(Home(home).registry)
        version = standing["version"]
        if standing["stage"] != "live" or version not in registry.versions(task.route):
            return True
        return lesson.text not in read_learnt_texts(registry.folder(task.route, version))

    wait_for(gives_way, "the specialist still serves")
    assert {reply.status for reply in await task.ask(task.questions(20))} == {200}
    await task.certify()
    registry = Registry(Home(home).registry)
    learnt = [read_learnt_texts(registry.folder(task.route, each)) for each in registry.versions(task.route)]
    assert learnt
    assert not any(lesson.text in texts for texts in learnt)


async def test_a_killed_model_host_costs_no_client_its_answer(task: Task, running: RunningTeacher) -> None:
    """After SIGKILL under load every request is answered, and local service returns by itself."""
    questions = list(task.questions(400))
    killed: list[int] = []
    before = running.control.requests

    async def kill() -> None:
        # Audits reach the teacher: traffic is flowing, and local answers are under way.
        while running.control.requests < before + 5:
            await asyncio.sleep(0.01)
        killed.append(await asyncio.to_thread(task.gateway.kill, HOST))

    replies, _ = await asyncio.gather(task.ask(questions, in_flight=24), kill())

    assert {reply.status for reply in replies} == {200}
    assert all(reply.text in LABELS for reply in replies)
    assert await task.local_question()
    assert task.gateway.child(HOST) not in {None, *killed}


async def test_a_killed_worker_comes_back_and_serves_locally(task: Task) -> None:
    killed = task.gateway.kill(WORKER)

    wait_for(lambda: task.gateway.child(WORKER) not in (None, killed), "the worker stays away")
    assert await task.local_question()


async def test_a_killed_learner_comes_back_and_learns(task: Task, running: RunningTeacher) -> None:
    killed = task.gateway.kill(LEARNER)

    wait_for(lambda: task.gateway.child(LEARNER) not in (None, killed), "the learner stays away")
    another = Task(task.gateway, running, "Another app sorts its tickets.", seed=1)
    assert (await another.certify())["version"]


async def test_commands_report_the_learned_tasks(task: Task) -> None:
    assert await task.local_question()

    # The bill is written in batches, a moment after the answers.
    def shows_savings() -> bool:
        total = json.loads(stepdown(task.gateway.home, "costs", "report", "--json").stdout)["total"]
        return bool(total["counterfactual_usd"] > total["usd"] > 0)

    wait_for(shows_savings, "the local answer saves nothing")
    standings = json.loads(stepdown(task.gateway.home, "learn", "status", "--json").stdout)
    stats = json.loads(stepdown(task.gateway.home, "harvest", "stats", "--json").stdout)

    assert "live" in {standing["stage"] for standing in standings}
    assert max(count["training"] for count in stats["tasks"].values()) >= 60


async def test_drift_returns_to_the_teacher_until_it_is_learned(
    gateway: RunningGateway, running: RunningTeacher
) -> None:
    """The teacher changes its labels: alarm, everything escalates, the new labels are certified."""
    task = Task(gateway, running, "A third app whose labels change.", seed=2)
    before = await task.certify()
    task.relabel = {label: f"new-{label}" for label in LABELS}
    deadline = time.monotonic() + PATIENCE_S
    while task.standing()["epoch"] == before["epoch"]:
        assert time.monotonic() < deadline, "no alarm"
        await task.ask(task.questions(20))
    after = await task.certify()
    assert await task.local_question()
    replies = await task.ask(task.questions(50))

    local = [reply for reply in replies if reply.decision == "local"]
    assert after["version"] > before["version"]
    assert sum(reply.text.startswith("new-") for reply in local) >= 0.8 * len(local) > 0
