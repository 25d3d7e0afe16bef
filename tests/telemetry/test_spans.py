"""One span per Outcome, made from the Outcome alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from gateway.core import Draft, Message, Outcome, Plan, Route, Usage
from gateway.telemetry.spans import MOST_CONTENT_BYTES, SpanObserver
from gateway.telemetry.trace_context import Tracing, create_sampler
from tests.support.builders import NOON, outcome, reading, request

ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def spans_of(
    seen: Outcome, *, sampled: str = "always_on", captures: bool = False, **answer: Any
) -> list[ReadableSpan]:
    """Return the spans that an observer makes of `seen`."""
    decide = create_sampler(sampled, 1.0)
    assert decide is not None
    made: list[ReadableSpan] = []
    observe = SpanObserver(
        Tracing(decide),
        made.append,
        Resource({}),
        provider="openai",
        base_url="http://teacher.example:8000/v1",
        captures_content=captures,
    )
    observe(seen, reading(**answer))
    return made


def span_of(seen: Outcome, **options: Any) -> tuple[ReadableSpan, dict[str, Any]]:
    (span,) = spans_of(seen, **options)
    return span, dict(span.attributes or {})


def test_a_span_lasts_as_long_as_its_request() -> None:
    span, attributes = span_of(outcome(request(id=ID), latency_ms=800.0, first_byte_ms=700.0))

    assert (span.start_time, span.end_time) == (int((NOON - 0.8) * 1e9), int(NOON * 1e9))
    assert attributes["gen_ai.response.time_to_first_chunk"] == pytest.approx(0.7)


def test_an_escalation_names_request_teacher_and_usage() -> None:
    incoming = request(id=ID, is_streamed=True, max_tokens=5, seed=7, stop=("\n",), wants_json=True)

    span, attributes = span_of(outcome(incoming), usage=Usage(1000, 100, 900))

    assert span.name == "chat giant"
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "giant",
        "gen_ai.request.stream": True,
        "gen_ai.request.max_tokens": 5,
        "gen_ai.request.seed": 7,
        "gen_ai.request.stop_sequences": ("\n",),
        "gen_ai.output.type": "json",
        "gen_ai.response.model": "giant",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": 0.7,
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 100,
        "gen_ai.usage.cache_read.input_tokens": 900,
        "server.address": "teacher.example",
        "server.port": 8000,
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "url.path": "/v1/chat/completions",
        "stepdown.decision": "escalated",
        "stepdown.reason": "no specialist yet",
        "stepdown.route": "cards",
        "stepdown.match": "fingerprint",
        "stepdown.policy": "default",
    }


def test_a_local_answer_has_its_score_and_names_no_server() -> None:
    draft = Draft(text="card_arrival", score=0.9, task="cards", version=3)

    _, attributes = span_of(
        outcome(
            request(id=ID),
            decision="local",
            draft=draft,
            would_serve=True,
            threshold=0.8,
            route=Route("cards"),
        )
    )

    assert "server.address" not in attributes
    assert attributes["gen_ai.provider.name"] == "stepdown"
    assert (
        attributes["stepdown.version"],
        attributes["stepdown.score"],
        attributes["stepdown.threshold"],
    ) == (
        3,
        0.9,
        0.8,
    )
    assert attributes["stepdown.would_serve"] is True


@pytest.mark.parametrize(
    ("changes", "error", "code"),
    [
        ({"status": 200}, None, StatusCode.UNSET),
        ({"status": 429}, "429", StatusCode.UNSET),
        ({"status": 502, "is_complete": False}, "502", StatusCode.ERROR),
        ({"status": 200, "is_complete": False}, "incomplete", StatusCode.ERROR),
    ],
)
def test_a_failure_is_marked(changes: dict[str, Any], error: str | None, code: StatusCode) -> None:
    """A refused request is not an error of a server's span (HTTP conventions)."""
    span, attributes = span_of(outcome(request(id=ID), **changes))

    assert attributes.get("error.type") == error
    assert span.status.status_code is code


def test_the_client_is_the_parent() -> None:
    headers = ((b"traceparent", f"00-{TRACE}-{PARENT}-01".encode()), (b"tracestate", b"a=1"))

    span, _ = span_of(outcome(request(id=ID, headers=headers)))

    assert span.parent is not None
    assert span.parent.is_remote
    assert f"{span.parent.span_id:016x}" == PARENT
    assert f"{span.context.trace_id:032x}-{span.context.span_id:016x}" == f"{TRACE}-{ID[16:]}"
    assert span.context.trace_state.to_header() == "a=1"


def test_an_unsampled_request_has_none() -> None:
    assert spans_of(outcome(request(id=ID)), sampled="always_off") == []


def test_content_is_captured_only_when_asked_for() -> None:
    incoming = request(id=ID, messages=(Message("system", "Be kind."), Message("user", "hello")))

    assert "gen_ai.input.messages" not in span_of(outcome(incoming))[1]
    _, attributes = span_of(outcome(incoming), captures=True, text="hi")

    assert json.loads(attributes["gen_ai.input.messages"]) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be kind."}]},
        {"role": "user", "parts": [{"type": "text", "content": "hello"}]},
    ]
    assert json.loads(attributes["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "hi"}], "finish_reason": "stop"}
    ]


def test_content_that_the_policy_keeps_nothing_of_is_not_captured() -> None:
    plan = Plan(policy="p", may_serve=True, may_harvest=False)

    _, attributes = span_of(outcome(request(id=ID), plan=plan, answer=b"x"), captures=True, text="hi")

    assert not any(name.endswith("messages") for name in attributes)


@pytest.mark.parametrize(
    "incoming",
    [request(id=ID, may_harvest=False), request(id=ID, body=b" " * MOST_CONTENT_BYTES)],
    ids=["not to be kept", "too long"],
)
def test_content_that_is_private_or_too_long_is_not_captured(incoming: Any) -> None:
    _, attributes = span_of(outcome(incoming, answer=b"x"), captures=True)

    assert "gen_ai.input.messages" not in attributes
    assert "gen_ai.output.messages" not in attributes
