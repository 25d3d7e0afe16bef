"""Requests of the Responses API take the same path through the flow as chat completions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from gateway.core import Plan, Request
from gateway.errors import SpecialistError, UpstreamError
from gateway.wire.sse import iter_events
from tests.cascade.fakes import Flow, ScriptedStream
from tests.support.builders import request as chat_request


def request(**changes: Any) -> Request:
    """Return a plain request of the Responses API with `store: false`."""
    body = b'{"model":"giant","input":"where is my card?","store":false}'
    return chat_request(surface="responses", target=b"/v1/responses", body=body, **changes)


def event(number: int, kind: str, **fields: object) -> bytes:
    data = json.dumps({"type": kind, **fields, "sequence_number": number}).encode()
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


def pieces_of(content: bytes, size: int) -> list[bytes]:
    return [content[at : at + size] for at in range(0, len(content), size)]


def events_of(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(data) for data in iter_events(body)]


CREATED = event(0, "response.created", response={"status": "in_progress"})
DELTA = event(1, "response.output_text.delta", delta="hel")
COMPLETED = event(2, "response.completed", response={"status": "completed", "instructions": "x" * 20_000})


@pytest.fixture
def flow() -> Flow:
    """A flow with a teacher that streams."""
    flow = Flow()
    flow.teacher.content_type = b"text/event-stream"
    return flow


async def test_a_certified_draft_is_served_in_the_shape_of_the_api(flow: Flow) -> None:
    answer = msgspec.json.decode(await flow.read(request()))

    assert answer["object"] == "response"
    assert answer["output"][0]["content"][0]["text"] == "from the specialist"


async def test_an_unfinished_draft_streams_in_that_shape(flow: Flow) -> None:
    flow.drafter.stream = ScriptedStream([" it", " is"])

    events = events_of(await flow.read(request(is_streamed=True)))

    assert events[-1]["type"] == "response.completed"
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "from the specialist it is"


async def test_a_specialist_that_breaks_off_ends_the_stream_with_an_error_event(flow: Flow) -> None:
    flow.drafter.stream = ScriptedStream([" it"], SpecialistError("host down"))

    events = events_of(await flow.read(request(is_streamed=True)))

    assert events[-1]["type"] == "error"
    assert [one["sequence_number"] for one in events] == list(range(len(events)))


@pytest.mark.parametrize("size", [700, 5_000, 100_000])
@pytest.mark.parametrize("filler", [0, 1_200_000])
async def test_a_whole_stream_passes_untouched_however_long_its_last_event(
    flow: Flow, size: int, filler: int
) -> None:
    """Also an answer that is too long to be kept."""
    stream = CREATED + b": %b\n\n" % (b"x" * filler) + DELTA + COMPLETED
    flow.drafter.score = 0.0
    flow.teacher.pieces = pieces_of(stream, size)

    assert await flow.read(request(is_streamed=True)) == stream
    assert flow.outcome.is_complete


@pytest.mark.parametrize(
    ("pieces", "number"),
    [((CREATED, DELTA), 2), ((CREATED + DELTA + COMPLETED[:-9],), 2), ((CREATED, b": ping\n\n"), 1), ((), 0)],
)
@pytest.mark.parametrize("error", [UpstreamError("reset"), None])
async def test_a_cut_stream_ends_with_an_error_event_of_the_next_number(
    flow: Flow, pieces: Sequence[bytes], number: int, error: Exception | None
) -> None:
    flow.drafter.score = 0.0
    flow.teacher.pieces, flow.teacher.error = pieces, error

    *_, last = events_of(await flow.read(request(is_streamed=True)))

    assert (last["type"], last["sequence_number"]) == ("error", number)
    assert not flow.outcome.is_complete


async def test_the_teacher_answers_what_it_would_store(flow: Flow) -> None:
    """The client may continue it by its id. The draft is still made, as in shadow."""
    flow.teacher.content_type = b"application/json"

    body = await flow.read(request(is_stored_by_default=True))

    outcome = await flow.wait_for_outcome()
    assert b"from the teacher" in body
    assert (outcome.decision, outcome.reason) == ("escalated", "stored by the teacher")
    assert outcome.route is not None
    assert outcome.draft is not None


@pytest.mark.parametrize(
    ("plan", "changes"),
    [
        (Plan(policy="p", may_serve=True, may_serve_stored=True), {}),
        (Plan(policy="p", may_serve=True), {"mode": "local"}),
    ],
)
async def test_it_is_served_if_the_policy_says_so_or_the_client(
    flow: Flow, plan: Plan, changes: dict[str, Any]
) -> None:
    flow.the_plan = plan

    await flow.read(request(is_stored_by_default=True, **changes))

    assert flow.outcome.decision == "local"
