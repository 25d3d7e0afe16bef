"""Local answers that are sent while they are written."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from gateway.core import Certification, Deferral, DraftRequest
from gateway.errors import SpecialistError
from tests.cascade.fakes import LIVE, Flow, ScriptedStream
from tests.support.builders import certified, request


@pytest.fixture
def flow() -> Flow:
    """A flow with a specialist that says "once upon", then " a", " time"."""
    flow = Flow()
    flow.drafter.text = "once upon"
    flow.drafter.stream = ScriptedStream([" a", " time"])
    return flow


def rest_of(flow: Flow) -> ScriptedStream:
    assert flow.drafter.stream is not None
    return flow.drafter.stream


def chunks(body: bytes) -> list[dict[str, Any]]:
    events = [event.removeprefix(b"data: ") for event in body.strip().split(b"\n\n")]
    return [msgspec.json.decode(event) for event in events if event != b"[DONE]"]


def texts(body: bytes) -> list[str]:
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks(body) if chunk.get("choices")]
    return [delta["content"] for delta in deltas if delta.get("content")]


async def test_an_accepted_beginning_is_followed_by_its_rest(flow: Flow) -> None:
    body = await flow.read(request(is_streamed=True))

    assert "".join(texts(body)) == "once upon a time"
    assert chunks(body)[-1]["choices"][0]["finish_reason"] == "stop"
    assert body.endswith(b"data: [DONE]\n\n")
    assert flow.teacher.calls == []
    assert (flow.outcome.decision, flow.outcome.is_complete) == ("local", True)
    assert flow.outcome.answer == body


async def test_an_answer_cut_at_its_length_says_so(flow: Flow) -> None:
    rest_of(flow).finish_reason = "length"

    body = await flow.read(request(is_streamed=True))

    assert chunks(body)[-1]["choices"][0]["finish_reason"] == "length"


async def test_the_beginning_goes_out_before_the_rest_is_known(flow: Flow) -> None:
    answer = await flow.serve(request(is_streamed=True))

    first = await anext(answer.body)

    assert "".join(texts(first)) == "once upon"
    assert len(rest_of(flow).pieces) == 2
    await answer.body.aclose()


async def test_an_unsure_beginning_is_stopped_and_the_teacher_answers(flow: Flow) -> None:
    flow.drafter.score = 0.4
    flow.teacher.content_type = b"text/event-stream"
    flow.teacher.pieces = (b"data: [DONE]\n\n",)

    body = await flow.read(request(is_streamed=True))

    assert body == b"data: [DONE]\n\n"
    assert rest_of(flow).closed == 1
    assert flow.outcome.decision == "escalated"


async def test_a_client_that_leaves_stops_the_specialist(flow: Flow) -> None:
    answer = await flow.serve(request(is_streamed=True))
    await anext(answer.body)

    await answer.body.aclose()

    assert rest_of(flow).closed == 1
    assert not flow.outcome.is_complete


async def test_an_answer_that_is_never_read_stops_the_specialist(flow: Flow) -> None:
    answer = await flow.serve(request(is_streamed=True))

    await answer.body.aclose()

    assert rest_of(flow).closed == 1
    assert not flow.outcome.is_complete


async def test_a_specialist_that_breaks_off_ends_the_stream_with_an_error_event(flow: Flow) -> None:
    """The teacher's words never follow the specialist's."""
    flow.drafter.stream = ScriptedStream([" a"], SpecialistError("host down"))

    body = await flow.read(request(is_streamed=True))

    events = chunks(body)
    assert "".join(texts(body)) == "once upon a"
    assert "error" in events[-1]
    assert b"[DONE]" not in body
    assert flow.teacher.calls == []
    assert not flow.outcome.is_complete


@pytest.mark.parametrize(
    "changes",
    [
        {"is_streamed": False},
        {"wants_json": True},
        {"tools": b"[]"},
        {"top_logprobs": 2},
        {"top_logprobs": 0},
        {"max_tokens": 100},
    ],
)
async def test_an_answer_that_is_judged_whole_is_drafted_whole(flow: Flow, changes: dict[str, Any]) -> None:
    answer = await flow.serve(request(**{"is_streamed": True, **changes}))
    await answer.body.aclose()

    assert [draft_request.is_streamed for draft_request in flow.drafter.requests] == [False]


@pytest.mark.parametrize("certification", [LIVE, certified(stage="shadow", threshold=None)])
async def test_evidence_is_drafted_whole(flow: Flow, certification: Certification) -> None:
    """The draft of an audit or a shadow is not sent, only compared."""
    flow.certification = certification
    flow.is_audit = True
    flow.teacher.content_type = b"text/event-stream"
    flow.teacher.pieces = (b"data: [DONE]\n\n",)

    await flow.read(request(is_streamed=True))

    await flow.wait_for_outcome()
    assert [draft_request.is_streamed for draft_request in flow.drafter.requests] == [False]


async def test_the_specialist_gets_the_demands_of_the_client(flow: Flow) -> None:
    demands: dict[str, Any] = {
        "text": "tell",
        "max_tokens": 100,
        "stop": ("END",),
        "response_format": b'{"type":"text"}',
        "tools": b"[]",
        "top_logprobs": 3,
        "seed": 7,
    }

    answer = await flow.serve(request(**demands))
    await answer.body.aclose()

    assert flow.drafter.requests == [DraftRequest(**demands)]


@pytest.mark.parametrize(("bias", "served_by"), [(3.0, b"specialist"), (-3.0, b"teacher")])
async def test_the_score_is_the_one_of_the_versions_deferral_head(
    flow: Flow, bias: float, served_by: bytes
) -> None:
    """The runtime's own score does not count: the certificate is about the head's."""
    flow.drafter.text = "from the specialist"
    flow.drafter.score = 0.5 - bias / 10
    flow.certification = msgspec.structs.replace(LIVE, deferral=Deferral(bias, {}))

    body = await flow.read()

    assert b"from the " + served_by in body
    assert flow.outcome.draft is not None
    assert flow.outcome.draft.score == pytest.approx(0.9526 if bias > 0 else 0.0474, abs=1e-3)


async def test_the_draft_of_an_audit_is_scored_by_the_head_too(flow: Flow) -> None:
    flow.is_audit = True
    flow.drafter.score = 0.9
    flow.certification = msgspec.structs.replace(LIVE, deferral=Deferral(-3.0, {}))

    await flow.read()

    outcome = await flow.wait_for_outcome()
    assert not outcome.would_serve


async def test_a_client_that_leaves_before_the_decision_leaves_no_draft_behind(flow: Flow) -> None:
    flow.drafter.gate = asyncio.Event()
    serving = asyncio.create_task(flow.serve(request(is_streamed=True)))
    await asyncio.sleep(0)

    serving.cancel()

    with pytest.raises(asyncio.CancelledError):
        await serving
    assert len(asyncio.all_tasks()) == 1
