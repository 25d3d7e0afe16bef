"""A real decoder in a whole gateway: it streams, dies, is replaced, and every client gets an answer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gateway.registry.manifest import Manifest
from gateway.registry.models import Registry
from gateway.routing.base import task_name
from gateway.specialists import knn
from gateway.specialists.engine import base_model
from gateway.specialists.runtimes import genai
from gateway.store.home import Home
from gateway.store.state import open_state
from tests.api.site_server import CHAT, HttpAnswer, chat_body
from tests.flow.conftest import TEACHER_KEY
from tests.specialists.engine.bases import make_models, write_adapter
from tests.specialists.hosting import MINILM
from tests.support.builders import certified
from tests.support.processes import RunningGateway, children, gateway_process
from tests.support.scripted_gateway import SCOPE, put_task
from tests.support.teacher import RunningTeacher
from tests.support.waiting import PATIENCE_S, wait_for
from tests.wire.chat.requests import chat_request

pytestmark = pytest.mark.learn

TASK = task_name(chat_request().template, SCOPE)
ANYTHING = 1e-30
"""A threshold that every draft passes: random weights give low scores."""
HOST, ENGINE = "gateway.specialists.host.process", "gateway.specialists.engine.main"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("tiny"))


def publish(home: Path, models: Path, version: int) -> None:
    """Publish a new adapter as a version of the task, and let it serve."""
    base = Registry(models)
    folder = home / f"adapter-{version}"
    folder.mkdir(parents=True)
    write_adapter(base.folder("tiny", 1), folder / genai.ADAPTER, seed=version)
    digest = base_model.base_digest(base.read("tiny", 1))
    genai.write_card(genai.Card(base="tiny", base_digest=digest, max_new_tokens=24, hold_back=2), folder)
    knn.write_neighbors(np.full((1, 384), 384**-0.5, np.float32), folder)
    manifest = Manifest(
        task=TASK,
        version=version,
        runtime="genai",
        encoder=MINILM,
        created_at=0.0,
        recipe="test",
        seed=0,
        rows=1,
        answers=1,
    )
    Registry(Home(home).registry).publish(manifest, folder)
    shutil.rmtree(folder)
    with open_state(Home(home)) as state:
        put_task(state, TASK, template_text="")
        state.certifications.put(certified(TASK, version, threshold=ANYTHING, is_settled=True))


@pytest.fixture(scope="module")
def gateway(home: Path, models: Path, running: RunningTeacher) -> Iterator[RunningGateway]:
    home.mkdir()
    Home(home).models.symlink_to(models)
    policies = home / "policies"
    policies.mkdir()
    never = "audit: {shadow: 0.0, settling: 0.0, certified: 0.0}"
    (policies / "default.yaml").write_text(f'policies:\n  - name: p\n    models: ["*"]\n    {never}\n')
    publish(home, models, 1)
    with gateway_process(
        home,
        "--open",
        OPENAI_BASE_URL=running.base_url,
        OPENAI_API_KEY=TEACHER_KEY,
        STEPDOWN_LEARN_ENABLED="false",
        STEPDOWN_POLICIES_FOLDER=str(policies),
    ) as gateway:
        wait_for(
            lambda: ask(gateway, stream=True).header("x-stepdown-decision") == "local",
            "the decoder does not serve",
        )
        yield gateway


def ask(gateway: RunningGateway, text: str = "where is my card", **fields: object) -> HttpAnswer:
    body = chat_body(messages=[{"role": "user", "content": text}], **fields)
    return gateway.ask("POST", CHAT, body, {"content-type": "application/json"})


def engine_of(gateway: RunningGateway) -> int | None:
    host = gateway.child(HOST)
    return None if host is None else next((p for p, name in children(host).items() if name == ENGINE), None)


def test_a_decoder_streams_the_rest_of_a_certified_beginning(gateway: RunningGateway) -> None:
    got = ask(gateway, stream=True)

    chunks = [json.loads(line[6:]) for line in got.body.decode().split("\n\n") if line.startswith("data: {")]
    assert got.header("x-stepdown-served-by") == f"{TASK}@1", got.header("x-stepdown-reason")
    assert got.body.endswith(b"data: [DONE]\n\n")
    assert chunks[-1]["choices"][0]["finish_reason"] in {"stop", "length"}
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


def test_an_engine_that_dies_during_a_draft_escalates_that_request(gateway: RunningGateway) -> None:
    """The teacher answers, and the next draft finds a new engine."""

    def kill_during_draft() -> str:
        ask(gateway, stream=True)
        engine = wait_for(lambda: engine_of(gateway), "no engine runs")
        os.kill(engine, signal.SIGSTOP)
        answers: list[HttpAnswer] = []
        client = threading.Thread(target=lambda: answers.append(ask(gateway, stream=True)))
        client.start()
        client.join(0.3)
        os.kill(engine, signal.SIGKILL)
        client.join(PATIENCE_S)
        assert answers[0].status == 200
        return answers[0].header("x-stepdown-reason") or ""

    # The engine may die before the request reached it; then a new one answers.
    assert wait_for(lambda: kill_during_draft() == "specialist failed", "no draft was under way")
    served = wait_for(
        lambda: ask(gateway, stream=True).header("x-stepdown-decision") == "local", "no new engine"
    )
    assert served


def test_a_new_adapter_goes_live_without_a_failed_request(
    gateway: RunningGateway, home: Path, models: Path
) -> None:
    publish(home, models, 2)
    statuses = []

    def is_new() -> bool:
        got = ask(gateway, stream=True)
        statuses.append(got.status)
        return got.header("x-stepdown-served-by") == f"{TASK}@2"

    assert wait_for(is_new, "the new version does not serve")
    assert set(statuses) == {200}
