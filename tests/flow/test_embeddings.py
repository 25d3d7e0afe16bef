"""Embeddings through the whole gateway: from the model host where a policy says so, else unchanged."""

from __future__ import annotations

import base64
import json
import math
from array import array
from collections.abc import Iterator
from operator import mul
from pathlib import Path

import openai
import pytest

from gateway.demo.teacher.faults import Fault
from tests.flow.conftest import TEACHER_KEY
from tests.support.processes import RunningGateway, gateway_process
from tests.support.teacher import RunningTeacher
from tests.support.waiting import PATIENCE_S, wait_for

DIMENSIONS = 384
EMBEDDINGS = "/v1/embeddings"
POLICIES = """
policies:
  - name: vectors
    models: ["stepdown/minilm", "text-embedding-local"]
    embed: minilm
  - name: never
    models: ["text-embedding-forbidden"]
    forbid: true
  - name: rest
"""


@pytest.fixture(scope="module")
def gateway(home: Path, running: RunningTeacher) -> Iterator[RunningGateway]:
    policies = home.parent / "policies"
    policies.mkdir()
    (policies / "vectors.yaml").write_text(POLICIES)
    with gateway_process(
        home,
        "--open",
        OPENAI_BASE_URL=running.base_url,
        OPENAI_API_KEY=TEACHER_KEY,
        STEPDOWN_LEARN_ENABLED="false",
        STEPDOWN_POLICIES_FOLDER=str(policies),
    ) as gateway:
        wait_for(lambda: gateway.status()["specialists_ready"], "the model host is not ready")
        yield gateway


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.base_url, api_key="any", max_retries=0, timeout=PATIENCE_S) as client:
        yield client


def test_the_official_client_gets_unit_vectors_of_the_local_encoder(
    client: openai.OpenAI, teacher: RunningTeacher
) -> None:
    texts = ["where is my card", "where is my bank card", "sing me a song"]

    answer = client.embeddings.create(model="text-embedding-local", input=texts)

    card, bank_card, song = (item.embedding for item in answer.data)
    assert [len(vector) for vector in (card, bank_card, song)] == [DIMENSIONS] * 3
    assert math.isclose(math.hypot(*card), 1.0, rel_tol=1e-5)
    assert sum(map(mul, card, bank_card)) > sum(map(mul, card, song))
    assert [item.index for item in answer.data] == [0, 1, 2]
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0
    assert teacher.control.requests == 0


def test_floats_and_base64_say_the_same(gateway: RunningGateway, teacher: RunningTeacher) -> None:
    vectors = {}
    for form in ("float", "base64"):
        fields = {"model": "stepdown/minilm", "input": "hello", "encoding_format": form}
        got = gateway.ask("POST", EMBEDDINGS, json.dumps(fields).encode())
        vectors[form] = got.json["data"][0]["embedding"]
        assert got.header("x-stepdown-served-by") == "minilm"
        assert got.header("x-stepdown-decision") == "local"

    assert array("f", vectors["float"]).tobytes() == base64.b64decode(vectors["base64"])


def test_a_whole_batch_keeps_its_order(client: openai.OpenAI, teacher: RunningTeacher) -> None:
    texts = [f"text number {number}" for number in range(150)]

    whole = client.embeddings.create(model="stepdown/minilm", input=texts)
    alone = client.embeddings.create(model="stepdown/minilm", input=texts[97])

    assert len(whole.data) == len(texts)
    assert whole.data[97].embedding == alone.data[0].embedding


def test_every_other_model_passes_untouched(gateway: RunningGateway, teacher: RunningTeacher) -> None:
    question, answer = b'{ "model":"text-embedding-3-small",\n"input" : "a"}', b'{"object":"list", "x":1.0}'
    teacher.control.fail_next(Fault(body=answer))

    got = gateway.ask("POST", EMBEDDINGS, question, {"content-type": "application/json"})

    assert (got.status, got.body) == (200, answer)
    assert teacher.control.seen[-1].body == question
    assert got.header("x-stepdown-reason") == "no encoder"


@pytest.mark.parametrize("form", ["float", "base64"])
def test_the_teachers_vectors_reach_the_official_client(
    client: openai.OpenAI, teacher: RunningTeacher, form: str
) -> None:
    answer = client.embeddings.create(
        model="text-embedding-3-small",
        input=["a", "b"],
        dimensions=16,
        encoding_format=form,  # type: ignore[arg-type]
    )

    assert len(answer.data) == 2
    seen = json.loads(teacher.control.seen[-1].body)
    assert (seen["dimensions"], seen["encoding_format"]) == (16, form)


def test_tokens_are_the_teachers(gateway: RunningGateway, teacher: RunningTeacher) -> None:
    teacher.control.fail_next(Fault(body=b"{}"))
    fields = {"model": "text-embedding-3-small", "input": [[1, 2, 3]]}

    got = gateway.ask("POST", EMBEDDINGS, json.dumps(fields).encode())

    assert (got.body, got.header("x-stepdown-reason")) == (b"{}", "input is no text")


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"model": "stepdown/minilm", "input": [1, 2]}, 400, "input"),
        ({"model": "stepdown/minilm", "input": "word " * 300}, 400, "input"),
        ({"model": "text-embedding-local", "input": ""}, 400, "input"),
        ({"model": "text-embedding-local", "input": [1, 2]}, 400, "input"),
        ({"model": "text-embedding-local", "input": "a", "dimensions": 1536}, 400, "dimensions"),
        ({"model": "stepdown/other", "input": "a"}, 404, "model"),
        ({"model": "text-embedding-forbidden", "input": "a"}, 403, "model"),
    ],
)
def test_a_request_without_an_answer_is_refused_in_openais_shape(
    gateway: RunningGateway, teacher: RunningTeacher, fields: dict[str, object], status: int, param: str
) -> None:
    got = gateway.ask("POST", EMBEDDINGS, json.dumps(fields).encode())

    assert (got.status, got.error["param"]) == (status, param)
    assert teacher.control.requests == 0


def test_the_encoders_model_is_listed(client: openai.OpenAI, teacher: RunningTeacher) -> None:
    assert "stepdown/minilm" in [model.id for model in client.models.list()]


def test_savings_of_local_vectors_are_counted(gateway: RunningGateway, client: openai.OpenAI) -> None:
    def local() -> int:
        return int(gateway.status()["costs"]["by_decision"].get("local", 0))

    before = local()
    client.embeddings.create(model="stepdown/minilm", input="one more")

    wait_for(lambda: local() > before, "the ledger does not see it")


@pytest.mark.parametrize("model", ["stepdown/minilm", "text-embedding-local"])
def test_without_the_host_no_other_model_answers(
    gateway: RunningGateway, teacher: RunningTeacher, model: str
) -> None:
    gateway.kill("gateway.specialists.host.process")
    wait_for(lambda: not gateway.status()["specialists_ready"], "the loss of the host is not noticed")

    got = gateway.ask("POST", EMBEDDINGS, json.dumps({"model": model, "input": "a"}).encode())

    assert (got.status, got.error["code"]) == (503, "encoder_unavailable")
    assert teacher.control.requests == 0
