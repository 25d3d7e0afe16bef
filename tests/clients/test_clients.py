"""Every official client gets from the gateway what it would get from OpenAI, whichever model answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.runs import Client
from tests.clients.teacher import VECTOR, last_text
from tests.conformance.harness import Harness
from tests.conformance.ours import ANSWERS, MODEL
from tests.conformance.teacher import TeacherRequest
from tests.support.waiting import PATIENCE_S

CHAT = ("chat", "stream", "tools", "stream_tools", "structured")
RESPONSES = ("responses", "response_stream", "response_tools", "response_structured")
ANSWERED = (*CHAT, *RESPONSES)
REFUSED = ("refused_400", "refused_404", "refused_429", "refused_500")
CUT = ("cut", "response_cut")
CANCELLED = ("cancel", "cancel_early")
BY_TEACHER = (*ANSWERED, "embeddings", *REFUSED, *CUT, *CANCELLED)
# The scenarios of each client; the others would only repeat another client's.
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
Result = dict[str, Any]
Results = dict[str, Any]
"""Scenario -> result, and `ended_at`."""


@pytest.fixture(scope="module", params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Client:
    chosen = CLIENTS[request.param]
    if chosen.absence:
        pytest.skip(chosen.absence)
    return chosen


@pytest.fixture(scope="module")
def results(client: Client, harness: Harness) -> Results:
    """The results of every scenario, from one run: the start of a client takes seconds."""
    harness.teacher.forget()
    local = [f"local.{scenario}" for scenario in client.scenarios & set(ANSWERED)]
    return client.run(harness, "gpt-4o", [*sorted(client.scenarios), *sorted(local)])


@pytest.fixture(scope="module")
def teacher_requests(results: Results, harness: Harness) -> list[TeacherRequest]:
    """The requests of that run that reached the teacher."""
    return harness.teacher.seen


@pytest.mark.parametrize("scenario", ANSWERED)
def test_the_teachers_answer_is_understood(client: Client, results: Results, scenario: str) -> None:
    assert_answer(result_of(client, results, scenario), scenario)


@pytest.mark.parametrize("scenario", ANSWERED)
def test_a_local_answer_is_understood_the_same(
    client: Client, results: Results, teacher_requests: list[TeacherRequest], scenario: str
) -> None:
    assert_answer(result_of(client, results, scenario, "local."), scenario)
    assert not [request for request in teacher_requests if MODEL.encode() in request.body], (
        "the teacher was asked"
    )


def test_an_embedding_keeps_its_numbers(client: Client, results: Results) -> None:
    assert result_of(client, results, "embeddings")["vector"] == VECTOR


@pytest.mark.parametrize("scenario", REFUSED)
def test_an_error_has_its_type_status_and_text(client: Client, results: Results, scenario: str) -> None:
    refusal, status = result_of(client, results, scenario), int(scenario.removeprefix("refused_"))

    assert refusal["status"] == status
    assert f"This is a {status}." in refusal["message"]
    assert {TYPES[status], "AI_APICallError", "APICallError"} & set(refusal["error"]), refusal["error"]


@pytest.mark.parametrize(
    ("scenario", "counts"),
    [("refused_400", {1}), ("refused_404", {1}), ("refused_429", {2, 3}), ("refused_500", {2, 3})],
)
def test_retries_of_client_and_gateway_do_not_multiply(
    client: Client, results: Results, teacher_requests: list[TeacherRequest], scenario: str, counts: set[int]
) -> None:
    """The gateway asks up to three times, then tells the client not to retry.

    Twice where its retry budget has only one left; where it has none, the client's own retries are the three.
    """
    result_of(client, results, scenario)
    text = scenario.replace("refused_", "say ")

    assert [_text(request) for request in teacher_requests].count(text) in counts


@pytest.mark.parametrize("scenario", CUT)
def test_a_stream_that_was_cut_raises(client: Client, results: Results, scenario: str) -> None:
    assert "error" in result_of(client, results, scenario)


@pytest.mark.parametrize("scenario", CANCELLED)
def test_a_client_that_cancels_ends_the_teachers_work(
    client: Client, results: Results, teacher_requests: list[TeacherRequest], scenario: str
) -> None:
    """While the client lives on; within a second is what conformance demands (451, 452)."""
    cancelled_at = result_of(client, results, scenario)["left_at"]
    endless = [request for request in teacher_requests if _text(request) == "endless"]
    ended = [request for request in endless if _is_streamed(request) == (scenario == "cancel")]

    # An early cancellation may overtake its own request on a busy machine: then there is nothing to end.
    assert ended or scenario == "cancel_early"
    for request in ended:
        assert request.left.wait(PATIENCE_S), "the teacher still works for a client that left"
        assert cancelled_at <= request.left_at < results["ended_at"]


def assert_answer(result: Result, scenario: str) -> None:
    """Demand the answer that both the teacher and the specialist give to this scenario's question."""
    assert "error" not in result, result
    if "tools" in scenario:
        assert result["name"] == "find"
        assert json.loads(result["arguments"]) == {"city": "K\u00f6ln"}
    elif "structured" in scenario:
        assert json.loads(result["json"]) == {"city": "K\u00f6ln"}
    else:
        assert result["text"] == ANSWERS["text"]
        assert result.get("has_usage", True)


def result_of(client: Client, results: Results, scenario: str, prefix: str = "") -> Result:
    """Return the result of one scenario; skip scenarios that this client does not have."""
    if scenario not in client.scenarios:
        pytest.skip("no scenario of this client")
    one: Result = results[prefix + scenario]
    return one


def _is_streamed(request: TeacherRequest) -> bool:
    return bool(json.loads(request.body).get("stream"))


def _text(request: TeacherRequest) -> str:
    body = json.loads(request.body) if request.body else {}
    return last_text(body) if "messages" in body else ""
