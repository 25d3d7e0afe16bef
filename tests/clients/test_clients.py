"""Every official client gets from the gateway what it would get from OpenAI, whoever answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.runs import Client
from tests.clients.teacher import VECTOR, question
from tests.conformance.harness import Lab
from tests.conformance.ours import ANSWERS, MODEL
from tests.conformance.teacher import Taught

CHAT = ("chat", "stream", "tools", "stream_tools", "structured")
RESPONSES = ("responses", "response_stream", "response_tools", "response_structured")
ANSWERED = (*CHAT, *RESPONSES)
REFUSED = ("refused_400", "refused_404", "refused_429", "refused_500")
CUT = ("cut", "response_cut")
CANCELLED = ("cancel", "cancel_early")
BY_TEACHER = (*ANSWERED, "embeddings", *REFUSED, *CUT, *CANCELLED)
# What a client asks for at all; the rest of its scenarios would be another client's.
SOME = frozenset({"chat", "stream", "stream_tools", "responses", "response_tools", "embeddings"})
ASYNC = SOME | {"refused_429", "cut", *CANCELLED}
MOST = frozenset(BY_TEACHER) - {"cancel_early"}
CLIENTS = {
    client.name: client
    for client in (
        Client("openai_sync", "openai", MOST),
        Client("openai_async", "openai", ASYNC),
        Client("langchain", "langchain_openai", MOST - {"response_structured"}),
        Client("litellm_sdk", "litellm", MOST - {"response_tools", "response_cut"}),
        Client("openai", "openai", frozenset(BY_TEACHER)),
        Client("ai-sdk", "ai", MOST),
    )
}
TYPES = {400: "BadRequestError", 404: "NotFoundError", 429: "RateLimitError", 500: "InternalServerError"}
PROMPT_S = 1.0

Told = dict[str, Any]


@pytest.fixture(scope="module", params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Client:
    chosen = CLIENTS[request.param]
    if chosen.absence:
        pytest.skip(chosen.absence)
    return chosen


@pytest.fixture(scope="module")
def told(client: Client, lab: Lab) -> Told:
    """What the client made of every scenario, in one run: starting it is what takes time."""
    lab.teacher.forget()
    locally = [f"local.{scenario}" for scenario in client.scenarios & set(ANSWERED)]
    return client.run(lab, "gpt-4o", [*sorted(client.scenarios), *sorted(locally)])


@pytest.fixture(scope="module")
def asked_of_teacher(told: Told, lab: Lab) -> list[Taught]:
    """What that run asked of the teacher."""
    return lab.teacher.seen


@pytest.mark.parametrize("scenario", ANSWERED)
def test_the_teachers_answer_is_understood(client: Client, told: Told, scenario: str) -> None:
    is_right(of(client, told, scenario), scenario)


@pytest.mark.parametrize("scenario", ANSWERED)
def test_a_local_answer_is_understood_the_same(
    client: Client, told: Told, asked_of_teacher: list[Taught], scenario: str
) -> None:
    is_right(of(client, told, scenario, "local."), scenario)
    assert not [taught for taught in asked_of_teacher if MODEL.encode() in taught.body], (
        "the teacher was asked"
    )


def test_an_embedding_keeps_its_numbers(client: Client, told: Told) -> None:
    assert of(client, told, "embeddings")["vector"] == VECTOR


@pytest.mark.parametrize("scenario", REFUSED)
def test_an_error_has_its_type_status_and_text(client: Client, told: Told, scenario: str) -> None:
    refusal, status = of(client, told, scenario), int(scenario.removeprefix("refused_"))

    assert refusal["status"] == status
    assert f"This is a {status}." in refusal["message"]
    assert {TYPES[status], "AI_APICallError", "APICallError"} & set(refusal["error"]), refusal["error"]


@pytest.mark.parametrize(
    ("scenario", "most"), [("refused_400", 1), ("refused_404", 1), ("refused_429", 3), ("refused_500", 3)]
)
def test_retries_of_client_and_gateway_do_not_multiply(
    client: Client, told: Told, asked_of_teacher: list[Taught], scenario: str, most: int
) -> None:
    """The gateway has asked three times, and tells the client that this was enough."""
    of(client, told, scenario)
    text = scenario.replace("refused_", "say ")

    assert [_text(taught) for taught in asked_of_teacher].count(text) == most


@pytest.mark.parametrize("scenario", CUT)
def test_a_stream_which_was_cut_raises(client: Client, told: Told, scenario: str) -> None:
    assert "error" in of(client, told, scenario)


@pytest.mark.parametrize("scenario", CANCELLED)
def test_a_client_which_cancels_ends_the_teachers_work_within_a_second(
    client: Client, told: Told, asked_of_teacher: list[Taught], scenario: str
) -> None:
    left_at = of(client, told, scenario)["left_at"]
    endless = [taught for taught in asked_of_teacher if _text(taught) == "endless"]

    for taught in endless:
        assert taught.left.wait(PROMPT_S), "the teacher still works for nobody"
    assert min(abs(taught.left_at - left_at) for taught in endless) < PROMPT_S


def is_right(told: Told, scenario: str) -> None:
    """Demand what both the teacher and the specialist say to this scenario's question."""
    assert "error" not in told, told
    if "tools" in scenario:
        assert told["name"] == "find"
        assert json.loads(told["arguments"]) == {"city": "K\u00f6ln"}
    elif "structured" in scenario:
        assert json.loads(told["json"]) == {"city": "K\u00f6ln"}
    else:
        assert told["text"] == ANSWERS["text"]
        assert told.get("has_usage", True)


def of(client: Client, told: Told, scenario: str, prefix: str = "") -> Told:
    """Return what became of one scenario; skip what this client does not do."""
    if scenario not in client.scenarios:
        pytest.skip("not done by this client")
    one: Told = told[prefix + scenario]
    return one


def _text(taught: Taught) -> str:
    body = json.loads(taught.body) if taught.body else {}
    return question(body) if "messages" in body else ""
