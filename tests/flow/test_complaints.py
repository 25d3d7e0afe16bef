"""From a thumb down on a local answer to the version that learnt what a reviewer said of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from gateway.registry.models import Registry
from gateway.specialists.learnt import read_learnt_texts
from gateway.specialists.runtimes.scripted import Script
from gateway.store.home import Home
from tests.flow.conftest import TEACHER_KEY
from tests.flow.traffic import LABELS, QUICK, Task, quick_policies
from tests.support.processes import RunningGateway, gateway_process, stepdown
from tests.support.scripted_gateway import scripted_gateway
from tests.support.teacher import RunningTeacher
from tests.support.waiting import PATIENCE_S, wait_for


@pytest.fixture(scope="module")
def gateway(home: Path, running: RunningTeacher) -> Iterator[RunningGateway]:
    with gateway_process(
        home,
        "--open",
        "--workers",
        "2",
        OPENAI_BASE_URL=running.base_url,
        OPENAI_API_KEY=TEACHER_KEY,
        STEPDOWN_POLICIES_FOLDER=quick_policies(home.with_name("policies")),
        STEPDOWN_LEARN_REVIEW_PAUSE_S="0",
        **QUICK,
    ) as gateway:
        yield gateway


def review(home: Path) -> list[dict[str, Any]]:
    """Return what apps complained of."""
    items = map(json.loads, stepdown(home, "harvest", "review", "--json").stdout.splitlines())
    return [item for item in items if item["source"] == "feedback"]


def rule(home: Path, folder: Path, **ruling: object) -> None:
    rulings = folder / "rulings.jsonl"
    rulings.write_text(json.dumps(ruling) + "\n")
    applied = stepdown(home, "harvest", "review", "--apply", str(rulings))
    assert applied.returncode == 0, applied.stderr


def lessons(home: Path, question: str) -> list[str]:
    """Return what a trainer gets as answers to `question`."""
    lines = map(json.loads, stepdown(home, "harvest", "export").stdout.splitlines())
    said = [[message["content"] for message in line["messages"]] for line in lines]
    return [texts[-1] for texts in said if texts[-2] == question]


def test_a_reviewers_word_on_a_local_answer_is_learnt_by_the_next_version(
    gateway: RunningGateway, running: RunningTeacher, tmp_path: Path
) -> None:
    task, home = Task(gateway, running, "Sort the ticket. Answer with one label."), gateway.home
    asyncio.run(task.certify())
    with openai.OpenAI(base_url=gateway.base_url, api_key="any", max_retries=0, timeout=PATIENCE_S) as client:
        while True:
            question = asyncio.run(task.local_question())
            raw = client.chat.completions.with_raw_response.create(
                model="gpt-4o",
                messages=task.messages(question),  # type: ignore[arg-type]
            )
            if raw.headers["x-stepdown-decision"] == "local":
                break
        request_id = raw.headers["x-stepdown-request-id"]
        said = raw.parse().choices[0].message.content
        assert question not in "".join(lessons(home, question))
        right = next(label for label in LABELS if label != said)
        feedback = {"request_id": request_id, "rating": "down", "answer": right}
        client.post("/feedback", cast_to=httpx.Response, body=feedback)
    wait_for(lambda: review(home), "the complaint reaches no reviewer")

    (item,) = review(home)
    assert (item["request_id"], item["text"], set(item["candidates"])) == (
        request_id,
        question,
        {said, right},
    )
    assert lessons(home, question) == [], "nothing is learnt from an app's word alone"
    assert f"local   {task.route}  {request_id}" in stepdown(home, "harvest", "tail").stdout
    assert json.loads(stepdown(home, "harvest", "stats", "--json").stdout)["tasks"][task.route]["local"] == 1

    rule(home, tmp_path, request_id=request_id, answer=right)

    assert review(home) == []
    assert lessons(home, question) == [right]
    registry = Registry(Home(home).registry)

    def has_learnt() -> bool:
        newest = registry.versions(task.route)[-1]
        learnt = read_learnt_texts(registry.folder(task.route, newest))
        return question in learnt and registry.read(task.route, newest).metrics["verdicts"] == 1

    wait_for(has_learnt, "no version learns what the reviewer said")


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory, running: RunningTeacher) -> Iterator[RunningGateway]:
    """A gateway of two workers in which a specialist answers everything."""
    home = tmp_path_factory.mktemp("scripted") / "home"
    environment = {"OPENAI_BASE_URL": running.base_url, "OPENAI_API_KEY": TEACHER_KEY}
    script = Script(otherwise="from the specialist")
    with scripted_gateway(home, script, "--open", "--workers", "2", **environment) as gateway:
        yield gateway


def ask(gateway: RunningGateway, text: str, **fields: Any) -> str:
    """Return the id of a request that the specialist answered."""
    messages = [{"role": "user", "content": text}]
    got = gateway.chat(model="stepdown/support", messages=messages, **fields)
    assert (got.status, got.header("x-stepdown-decision")) == (200, "local"), got.body
    return str(got.header("x-stepdown-request-id"))


def complain(gateway: RunningGateway, request_id: str) -> None:
    body = json.dumps({"request_id": request_id, "rating": "down"}).encode()
    assert gateway.ask("POST", "/v1/feedback", body).status == 202


def count_lost(home: Path) -> int:
    said = stepdown(home, "harvest", "review", "--json").stderr.splitlines()[-1]
    return int(json.loads(said)["complaints_without_text"])


def wait_for_reviews(home: Path, texts: set[str]) -> None:
    wait_for(lambda: {item["text"] for item in review(home)} == texts, f"not in review: {texts}")


def test_a_verdict_is_taken_back_and_a_complaint_is_forgotten(
    scripted: RunningGateway, tmp_path: Path
) -> None:
    home = scripted.home
    whole, streamed = ask(scripted, "a whole answer"), ask(scripted, "a streamed one", stream=True)
    for request_id in (whole, streamed, whole):
        complain(scripted, request_id)
    wait_for_reviews(home, {"a whole answer", "a streamed one"})
    assert {item["candidates"][0] for item in review(home)} == {"from the specialist"}
    assert count_lost(home) == 0

    rule(home, tmp_path, request_id=whole, answer="from the specialist")
    assert lessons(home, "a whole answer") == ["from the specialist"], "a reviewer stands for it"
    taken_back = stepdown(home, "harvest", "review", "--undo").stdout
    assert taken_back == f"taken back: accept {whole}\n"
    assert lessons(home, "a whole answer") == []

    rows = json.loads(stepdown(home, "harvest", "show", streamed).stdout)["rows"]
    assert [(row["answer"], row["draft"], row["draft_version"]) for row in rows] == [
        ("", "from the specialist", 1)
    ]
    for request_id in (whole, streamed):
        assert stepdown(home, "harvest", "forget", "--request", request_id).returncode == 0
    assert review(home) == []


def test_of_what_is_not_remembered_reviewers_learn_the_number(scripted: RunningGateway) -> None:
    home = scripted.home
    private, forgotten = ask(scripted, "not to be kept", store=False), ask(scripted, "to be forgotten")
    assert stepdown(home, "harvest", "forget", "--request", forgotten).returncode == 0
    kept = ask(scripted, "kept")

    for request_id in (private, forgotten, kept):
        complain(scripted, request_id)
    wait_for_reviews(home, {"kept"})

    assert count_lost(home) == 2
    assert b"not to be kept" not in b"".join(each.read_bytes() for each in home.rglob("*.db*"))
