"""The Responses API through the whole gateway: served by a specialist, or unchanged by the teacher."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pydantic
import pytest

from gateway.demo.teacher.faults import Fault
from gateway.harvest.reader import HarvestReader
from gateway.specialists.runtimes.scripted import Script
from gateway.store.home import Home
from gateway.wire.sse import iter_events
from tests.flow.conftest import TEACHER_KEY
from tests.support.processes import RunningGateway
from tests.support.scripted_gateway import scripted_gateway
from tests.support.teacher import RunningTeacher
from tests.support.waiting import PATIENCE_S, wait_for

RESPONSES = "/v1/responses"
JSON = {"content-type": "application/json"}
LONG = " ".join(f"word{number}" for number in range(40))
CALL = '<tool_call>\n{"name":"find","arguments":{"city":"Rome"}}\n</tool_call>'
SCRIPT = Script(
    answers={"which label?": '{"label":"card"}', "where is it?": CALL},
    otherwise=LONG,
    score=0.9,
    hold_back=3,
    piece_delay_ms=5,
)
FIND: Any = {
    "type": "function",
    "name": "find",
    "description": None,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}
USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 2,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 11,
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "a label", "annotations": [], "x-unknown": 1.50}],
}
COMPLETE = json.dumps(
    {"id": "resp_1", "status": "completed", "model": "gpt-4o", "output": [MESSAGE], "usage": USAGE}
).encode()
CREATED = b'event: response.created\ndata: {"type":"response.created","sequence_number":0}\n\n'
DELTA = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"a'
COMPLETED = b'event: response.completed\ndata: {"type":"response.completed","response":%b}\n\n' % COMPLETE


@pytest.fixture(scope="module")
def gateway(home: Path, running: RunningTeacher) -> Iterator[RunningGateway]:
    """A gateway with a certified task "support" and a scripted specialist."""
    with scripted_gateway(
        home, SCRIPT, "--open", OPENAI_BASE_URL=running.base_url, OPENAI_API_KEY=TEACHER_KEY
    ) as gateway:
        yield gateway


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.base_url, api_key="any", max_retries=0, timeout=PATIENCE_S) as client:
        yield client


def answers_with(teacher: RunningTeacher, body: bytes, kind: str, **fault: Any) -> None:
    teacher.control.fail_next(Fault(status=200, body=body, headers=(("content-type", kind),), **fault))


def test_a_specialist_answers_as_the_official_client_expects(client: openai.OpenAI) -> None:
    response = client.responses.create(
        model="stepdown/support", input="go", instructions="Be kind.", store=False, metadata={"a": "b"}
    )

    assert (response.output_text, response.status) == (LONG, "completed")
    assert (response.instructions, response.metadata) == ("Be kind.", {"a": "b"})
    assert response.usage is not None
    assert response.usage.output_tokens > 0


def test_a_long_answer_streams_while_it_is_written(client: openai.OpenAI, teacher: RunningTeacher) -> None:
    events = list(client.responses.create(model="stepdown/support", input="go", stream=True))

    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == LONG
    assert len(deltas) > 30
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == LONG
    assert teacher.control.requests == 0


class Label(pydantic.BaseModel):
    """The specialist's answer to "which label?"."""

    label: str


def test_structured_output(client: openai.OpenAI) -> None:
    fields: dict[str, Any] = {"model": "stepdown/support", "input": "which label?", "text_format": Label}

    whole = client.responses.parse(**fields)
    with client.responses.stream(**fields) as stream:
        streamed = stream.get_final_response()

    assert whole.output_parsed == streamed.output_parsed == Label(label="card")


def test_function_calls(client: openai.OpenAI) -> None:
    fields: dict[str, Any] = {"model": "stepdown/support", "input": "where is it?", "tools": [FIND]}

    (whole,) = client.responses.create(**fields).output
    with client.responses.stream(**fields) as stream:
        (streamed,) = stream.get_final_response().output

    assert whole.type == streamed.type == "function_call"
    assert (whole.name, whole.arguments) == ("find", '{"city":"Rome"}')
    assert streamed.parsed_arguments == {"city": "Rome"}


def test_only_the_teacher_answers_a_request_beyond_a_specialist(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="previous_response_id"):
        client.responses.create(model="stepdown/support", input="go", previous_response_id="resp_0")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (b'"store":true', "store"),
        (b'"background":true', "background"),
        (b'"previous_response_id":"resp_0"', "previous_response_id"),
        (b'"conversation":{"id":"conv_0"}', "conversation"),
        (b'"tools":[{"type":"web_search"}]', "tools"),
        (b'"temperature":1.50', "no specialist yet"),
    ],
)
def test_the_teachers_answers_pass_byte_for_byte(
    gateway: RunningGateway, teacher: RunningTeacher, fields: bytes, reason: str
) -> None:
    body = b'{ "model":"gpt-4o", "input":"h\\u00e9llo", %b, "unknown" : 1e2 }' % fields
    answers_with(teacher, COMPLETE, "application/json")
    answers_with(teacher, CREATED + COMPLETED, "text/event-stream", is_chunked=True)

    whole = gateway.ask("POST", RESPONSES, body, JSON)
    streamed = gateway.ask("POST", RESPONSES, body, JSON)

    assert (whole.body, streamed.body) == (COMPLETE, CREATED + COMPLETED)
    assert [seen.body for seen in teacher.control.seen] == [body, body]
    shown = reason if reason != "no specialist yet" else "unknown field"
    assert whole.header("x-stepdown-reason") == shown


@pytest.mark.parametrize("is_reset", [True, False])
def test_a_cut_stream_never_looks_complete(
    gateway: RunningGateway, client: openai.OpenAI, teacher: RunningTeacher, *, is_reset: bool
) -> None:
    cut = CREATED + DELTA
    for _ in range(2):
        fault = {"cut_after": len(cut), "is_reset": is_reset, "is_chunked": True}
        answers_with(teacher, cut + b"x" * 99, "text/event-stream", **fault)
    body = b'{"model":"gpt-4o","input":"hello","stream":true}'

    got = gateway.ask("POST", RESPONSES, body, JSON)
    with pytest.raises(openai.APIError, match="broken off"):
        list(client.responses.create(model="gpt-4o", input="hello", stream=True))

    # A reset may overtake the bytes before it: how many of them arrive depends on the network.
    *before, last = (json.loads(event) for event in iter_events(got.body))
    assert len(before) <= 1
    assert (last["type"], last["sequence_number"], last["code"]) == ("error", len(before), "stream_cut")


def test_the_teachers_answers_are_harvested_unless_store_is_false(
    gateway: RunningGateway, teacher: RunningTeacher
) -> None:
    """The harvest keeps a conversation like those of the chat API."""
    for question, store in (("first", b"false"), ("second", b"null")):
        answers_with(teacher, COMPLETE, "application/json")
        body = b'{"model":"gpt-4o","instructions":"Sort %b.","input":"it","store":%b}'
        gateway.ask("POST", RESPONSES, body % (question.encode(), store), JSON)

    harvest = HarvestReader(Home(gateway.home).harvest)
    last = {"role": "system", "content": "Sort second."}
    wait_for(lambda: last in first_messages(harvest), "nothing is harvested")
    assert {"role": "system", "content": "Sort first."} not in first_messages(harvest)


def first_messages(harvest: HarvestReader) -> list[dict[str, str]]:
    """Return the first message of every row."""
    return [json.loads(row.messages)[0] for task in harvest.counts() for row in harvest.rows(task).rows]
