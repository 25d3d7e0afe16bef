"""A local answer has the exact shape of OpenAI's Responses API: the official client's models accept it."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pydantic
import pytest
from openai import OpenAI
from openai.types.responses import ParsedResponse, Response, ResponseStreamEvent

from gateway.core import Draft, Reading, Usage
from gateway.wire.responses.answer import PADDED_TO, ResponsesRenderer
from gateway.wire.responses.reading import ends_complete, parse_answer
from gateway.wire.sse import iter_events
from tests.wire.conftest import event_stream
from tests.wire.responses.requests import FIND, FORMAT, responses_request

USAGE = Usage(prompt_tokens=7, completion_tokens=2, cached_tokens=3)
TEXT = 'a "label"\n\u2028é and  more, much more'
CALLS = (
    '<tool_call>\n{"name":"find","arguments":{"city":"Köln"}}\n</tool_call>\n'
    '<tool_call>\n{"name":"find","arguments":{}}\n</tool_call>'
)
TEXT_EVENTS = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]
CALL_EVENTS = [
    "response.output_item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_item.done",
]

_event_types: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(ResponseStreamEvent)


def renderer_for(**fields: object) -> ResponsesRenderer:
    return ResponsesRenderer(responses_request(**fields), lambda: 5.0)


def draft(text: str = TEXT, **more: Any) -> Draft:
    return Draft(text=text, score=0.9, task="t", version=1, **more)


def events_of(stream: bytes) -> list[dict[str, Any]]:
    """Return the events of a stream, each named as its type and accepted by the client's own models."""
    events = [json.loads(event) for event in iter_events(stream)]
    names = [line[7:] for line in stream.decode().split("\n") if line.startswith("event: ")]
    assert names == [event["type"] for event in events]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    for event in events:
        _event_types.validate_python(event, strict=True)
    return events


def kinds_of(events: list[dict[str, Any]]) -> list[str]:
    """Return the types of `events`, each run of one type only once."""
    kinds = [event["type"] for event in events]
    return [kind for place, kind in enumerate(kinds) if kinds[place - 1] != kind or not place]


def test_a_whole_text() -> None:
    answer = json.loads(renderer_for().render_whole(draft(), USAGE))

    response = Response.model_validate(answer, strict=True)
    assert response.output_text == TEXT
    assert (response.id, response.model, response.status) == ("resp_id", "gpt-4o", "completed")
    assert (answer["created_at"], answer["completed_at"], answer["error"]) == (5, 5, None)
    assert answer["output"][0]["content"][0].keys() == {"type", "annotations", "logprobs", "text"}
    assert answer["usage"] == {
        "input_tokens": 7,
        "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": 3},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 9,
    }


def test_a_response_repeats_the_fields_of_its_request() -> None:
    """As the client wrote it, with defaults for absent fields, and `store` is false."""
    fields: dict[str, Any] = {
        "instructions": "Sort it.",
        "max_output_tokens": 64,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "temperature": 0,
        "text": {"format": FORMAT},
        "tool_choice": "required",
        "tools": [FIND],
        "user": "u",
    }
    full, plain = (json.loads(renderer_for(**more).render_whole(draft("x"), USAGE)) for more in (fields, {}))

    assert {name: full[name] for name in fields} == {
        **fields,
        "text": {"format": FORMAT, "verbosity": "medium"},
    }
    assert plain["text"] == {"format": {"type": "text"}, "verbosity": "medium"}
    assert (plain["tools"], plain["tool_choice"], plain["metadata"]) == ([], "auto", {})
    assert full["store"] is plain["store"] is False
    assert list(full) == list(plain)
    Response.model_validate(full, strict=True)


def test_a_stream_of_text_has_every_event_in_order() -> None:
    events = events_of(renderer_for(stream=True).render_stream(draft(), USAGE))

    assert kinds_of(events) == TEXT_EVENTS
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    assert len(deltas) > 3
    assert "".join(event["delta"] for event in deltas) == TEXT
    assert all((len(event["delta"]) + len(event["obfuscation"])) % PADDED_TO == 0 for event in deltas)
    assert events[0]["response"]["status"] == "in_progress"
    assert events[0]["response"]["usage"] is None
    whole = json.loads(renderer_for(stream=True).render_whole(draft(), USAGE))
    assert events[-1]["response"] == whole


def test_padding_is_left_out_if_asked() -> None:
    renderer = renderer_for(stream=True, stream_options={"include_obfuscation": False})

    assert b"obfuscation" not in renderer.render_stream(draft(), USAGE)


def test_function_calls_are_items_of_their_own() -> None:
    answer = json.loads(renderer_for(tools=[FIND]).render_whole(draft(CALLS), USAGE))

    first, second = Response.model_validate(answer, strict=True).output
    assert first.type == second.type == "function_call"
    assert (first.name, json.loads(first.arguments), first.status) == ("find", {"city": "Köln"}, "completed")
    assert first.call_id != second.call_id
    assert (first.id or "").startswith("fc_")


def test_streamed_function_calls_come_item_by_item() -> None:
    events = events_of(renderer_for(tools=[FIND]).render_stream(draft(CALLS), USAGE))

    assert kinds_of(events) == [*TEXT_EVENTS[:2], *CALL_EVENTS, *CALL_EVENTS, "response.completed"]
    first = [event for event in events if event.get("output_index") == 0]
    deltas = "".join(event["delta"] for event in first if event["type"].endswith("delta"))
    assert deltas == first[-2]["arguments"] == first[-1]["item"]["arguments"]
    assert (first[0]["item"]["arguments"], first[0]["item"]["status"]) == ("", "in_progress")
    items = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert events[-1]["response"]["output"] == items


def test_what_looks_like_a_call_is_text_where_no_tools_were_given() -> None:
    answer = json.loads(renderer_for().render_whole(draft(CALLS), USAGE))
    assert answer["output"][0]["content"][0]["text"] == CALLS


def test_an_answer_that_was_cut_says_so() -> None:
    cut = draft(finish_reason="length")

    answer = json.loads(renderer_for().render_whole(cut, USAGE))
    *_, last = events_of(renderer_for().render_stream(cut, USAGE))

    assert (answer["status"], answer["completed_at"]) == ("incomplete", None)
    assert answer["incomplete_details"] == {"reason": "max_output_tokens"}
    assert answer["output"][0]["status"] == "incomplete"
    assert (last["type"], last["response"]) == ("response.incomplete", answer)


def test_an_answer_rendered_event_by_event_is_a_stream_like_any_other() -> None:
    renderer = renderer_for(stream=True)
    opening, piece = renderer.render_opening(draft("It begins")), renderer.render_piece(" and ends")

    events = events_of(opening + piece + renderer.render_closing("stop", USAGE))

    assert kinds_of(events) == TEXT_EVENTS
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "It begins and ends"


@pytest.mark.parametrize("is_streamed", [True, False])
@pytest.mark.parametrize(("text", "reason"), [(TEXT, "stop"), (CALLS, "tool_calls")])
def test_our_own_answers_read_like_the_teachers(is_streamed: bool, text: str, reason: str) -> None:
    renderer = renderer_for(tools=[FIND])
    answer = (renderer.render_stream if is_streamed else renderer.render_whole)(draft(text), USAGE)

    assert parse_answer(answer, is_streamed, is_complete=True) == Reading(
        text=text,
        model="gpt-4o",
        finish_reason=reason,
        usage=USAGE,
        is_complete=True,
        written_bytes=len(text.encode()),
        service_tier="default",
        id="resp_id",
        status="completed",
    )
    assert not is_streamed or ends_complete(answer)


class Label(pydantic.BaseModel):
    """The object that FORMAT prescribes."""

    label: str


def test_the_client_parses_a_whole_answer(client: OpenAI, answers: list[httpx2.Response]) -> None:
    content = renderer_for(text={"format": FORMAT}).render_whole(draft('{"label":"card"}'), USAGE)
    answers.append(httpx2.Response(200, content=content))

    response = client.responses.parse(model="gpt-4o", input="hello", text_format=Label)

    assert response.output_parsed == Label(label="card")


def final(client: OpenAI, **fields: Any) -> ParsedResponse[Any]:
    """Return the response that the client's own helper builds from the stream, event by event."""
    with client.responses.stream(model="gpt-4o", input="hello", **fields) as stream:
        for _ in stream:
            pass
        return stream.get_final_response()


def test_the_client_follows_a_stream(client: OpenAI, answers: list[httpx2.Response]) -> None:
    answers.append(event_stream(renderer_for(stream=True).render_stream(draft('{"label":"card"}'), USAGE)))

    response = final(client, text_format=Label)

    assert response.output_parsed == Label(label="card")
    assert response.usage is not None
    assert response.usage.total_tokens == 9


def test_the_client_follows_function_calls(client: OpenAI, answers: list[httpx2.Response]) -> None:
    answers.append(event_stream(renderer_for(tools=[FIND], stream=True).render_stream(draft(CALLS), USAGE)))

    first, second = final(client, tools=[FIND]).output

    assert first.type == second.type == "function_call"
    assert first.parsed_arguments == {"city": "Köln"}
