"""A local answer of the Responses API has the teacher's shape, whole and event by event."""

from __future__ import annotations

import json
import time
from typing import Any

from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tests.conformance.answers import to_json
from tests.conformance.checks.fields import SCHEMA
from tests.conformance.harness import Harness, best_of_three
from tests.conformance.ours import ANSWERS, LONG
from tests.conformance.shape import assert_shape
from tests.conformance.table import check

PATH = "/responses"
OBJECT = "API: Responses, the response object"
EVENTS = "API: Responses, streaming events"
DOCUMENTED = {
    *("id", "object", "created_at", "status", "error", "incomplete_details", "instructions"),
    *("max_output_tokens", "model", "output", "parallel_tool_calls", "previous_response_id", "reasoning"),
    *("store", "temperature", "text", "tool_choice", "tools", "top_p", "truncation", "usage", "metadata"),
}
"""The fields of the example in OpenAI's reference."""
UNTYPED = {"store", "presence_penalty", "frequency_penalty"}
"""Fields that the service sends although its client has no types for them (Open Responses)."""
USAGE = {
    "input_tokens": int,
    "input_tokens_details": {"cached_tokens": int, "cache_write_tokens": int},
    "output_tokens": int,
    "output_tokens_details": {"reasoning_tokens": int},
    "total_tokens": int,
}
TEXT = {"type": "output_text", "text": str, "annotations": [], "logprobs": []}
MESSAGE = {"type": "message", "id": str, "status": "completed", "role": "assistant", "content": [TEXT]}
CALL = {
    "type": "function_call",
    "id": str,
    "call_id": str,
    "name": "find",
    "arguments": str,
    "status": "completed",
}
TOOL = {
    "type": "function",
    "name": "find",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
FORMAT = {"format": {"type": "json_schema", **SCHEMA["json_schema"]}}
_events: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def local_response(harness: Harness, prompt: str, **fields: object) -> dict[str, Any]:
    """Return a whole local response after OpenAI's own client has parsed it."""
    got = harness.ask_locally(prompt, PATH, store=False, **fields)
    response: dict[str, Any] = got.json
    assert_response(response)
    return response


def assert_response(response: dict[str, Any]) -> None:
    """Demand the documented fields, and none that OpenAI's client does not know."""
    assert set(response) >= DOCUMENTED, f"{sorted(DOCUMENTED - set(response))} are absent"
    unknown = set(response) - set(Response.model_fields) - UNTYPED
    assert not unknown, f"{sorted(unknown)} are unknown"
    Response.model_validate(response, strict=True)


def local_events(harness: Harness, prompt: str, **fields: object) -> list[dict[str, Any]]:
    """Return the events of a local stream after OpenAI's own client has parsed each."""
    got = harness.ask_locally(prompt, PATH, store=False, stream=True, **fields)
    for one in got.events:
        _events.validate_python(one, strict=True)
    return got.events


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """Return the types of events without repetitions."""
    names = [one["type"] for one in events]
    return [name for number, name in enumerate(names) if number == 0 or names[number - 1] != name]


@check(931, "a local response has the documented fields and no unknown one", source=OBJECT)
def whole(harness: Harness) -> None:
    response = local_response(harness, "text")
    assert_shape(response["output"], [MESSAGE])
    assert_shape(response["usage"], USAGE)
    assert (response["object"], response["status"], response["error"]) == ("response", "completed", None)
    assert response["output"][0]["content"][0]["text"] == ANSWERS["text"]


@check(932, "the ids of a local response have OpenAI's prefixes, and its time is now", source=OBJECT)
def ids(harness: Harness) -> None:
    response = local_response(harness, "text")
    assert response["id"].startswith("resp_")
    assert response["output"][0]["id"].startswith("msg_")
    assert response["model"] == harness.local
    assert abs(response["created_at"] - time.time()) < 60


@check(933, "the usage of a local response adds up", source="API: Responses, usage")
def usage(harness: Harness) -> None:
    used = local_response(harness, "text")["usage"]
    assert used["total_tokens"] == used["input_tokens"] + used["output_tokens"]
    assert min(used["input_tokens"], used["output_tokens"]) > 0


@check(934, "a local response repeats the fields of its request", source=OBJECT)
def repeats(harness: Harness) -> None:
    fields = {
        "instructions": "Be brief",
        "temperature": 0.5,
        "max_output_tokens": 500,
        "metadata": {"a": "b"},
    }
    response = local_response(harness, "text", **fields)
    assert {name: response[name] for name in fields} == fields
    assert response["store"] is False


@check(935, "messages of text parts are answered locally, too", source="API: Responses, create, input")
def parts(harness: Harness) -> None:
    messages = [
        {"role": "developer", "content": "Be brief"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "text"}]},
    ]
    assert local_response(harness, "", input=messages)["output"][0]["content"][0]["text"] == ANSWERS["text"]


@check(936, "a local function call has OpenAI's shape", source="API: Function calling (Responses)")
def call(harness: Harness) -> None:
    response = local_response(harness, "call", tools=[TOOL])
    assert_shape(response["output"], [CALL])
    assert json.loads(response["output"][0]["arguments"]) == {"city": "K\u00f6ln"}
    assert response["tools"][0]["name"] == "find"


@check(937, "parallel local function calls are items of their own", source="API: Function calling, parallel")
def calls(harness: Harness) -> None:
    items = local_response(harness, "calls", tools=[TOOL])["output"]
    assert_shape(items, [CALL, CALL])
    assert len({item["call_id"] for item in items}) == 2


@check(938, "a local response under json_schema is JSON in its text", source="API: Structured outputs")
def schema(harness: Harness) -> None:
    response = local_response(harness, "json", text=FORMAT)
    assert json.loads(response["output"][0]["content"][0]["text"]) == {"city": "K\u00f6ln"}
    assert response["text"]["format"]["name"] == SCHEMA["json_schema"]["name"]


@check(939, "a local response has the headers of a response", source="RFC 9110, 8; API: Debugging requests")
def headers(harness: Harness) -> None:
    got = harness.ask_locally("text", PATH, store=False)
    assert got.value("content-type") == "application/json"
    assert got.value("content-length") == str(len(got.body))
    assert got.value("x-request-id")


@check(941, "the events of a local text come in OpenAI's order", source=EVENTS)
def order(harness: Harness) -> None:
    names = ("output_item.added", "content_part.added", "output_text.delta", "output_text.done")
    ends = ("content_part.done", "output_item.done", "completed")
    wanted = [f"response.{name}" for name in ("created", "in_progress", *names, *ends)]
    assert kinds(local_events(harness, "text")) == wanted


@check(942, "local events are numbered from 0 on", source=f"{EVENTS}, sequence_number")
def numbered(harness: Harness) -> None:
    events = local_events(harness, "text")
    assert [one["sequence_number"] for one in events] == list(range(len(events)))


@check(
    943,
    "local events are named by their type, and no [DONE] follows",
    source="openai-node src/core/streaming.ts",
)
def named(harness: Harness) -> None:
    got = harness.ask_locally("text", PATH, store=False, stream=True)
    names = [line[7:] for line in got.body.decode().split("\n") if line.startswith("event: ")]
    assert names == [one["type"] for one in got.events]
    assert got.value("content-type") in ("text/event-stream; charset=utf-8", "text/event-stream")


@check(944, "local deltas join to the text that the end repeats", source=EVENTS)
def joined(harness: Harness) -> None:
    events = local_events(harness, "lines")
    text = "".join(one["delta"] for one in events if one["type"] == "response.output_text.delta")
    ended = {one["type"]: one for one in events}
    assert text == ANSWERS["lines"]
    assert ended["response.output_text.done"]["text"] == text
    assert ended["response.content_part.done"]["part"]["text"] == text
    assert_shape(ended["response.output_item.done"]["item"], MESSAGE)


@check(
    945, "the first and the last local event carry whole responses", source=f"{EVENTS}, response.completed"
)
def ends(harness: Harness) -> None:
    first, *_, last = local_events(harness, "text")
    assert_response(first["response"])
    assert_response(last["response"])
    assert (first["response"]["status"], first["response"]["output"]) == ("in_progress", [])
    assert first["response"]["usage"] is None
    assert_shape(last["response"]["output"], [MESSAGE])
    assert_shape(last["response"]["usage"], USAGE)
    assert first["response"]["id"] == last["response"]["id"]


@check(946, "local events of one item name it", source=f"{EVENTS}, item_id")
def one_item(harness: Harness) -> None:
    events = local_events(harness, "text")
    (added,) = [one["item"] for one in events if one["type"] == "response.output_item.added"]
    assert {one["item_id"] for one in events if "item_id" in one} == {added["id"]}
    assert {one["output_index"] for one in events if "output_index" in one} == {0}


@check(
    947,
    "the events of a local function call come in OpenAI's order",
    source=f"{EVENTS}, function_call_arguments",
)
def call_events(harness: Harness) -> None:
    events = local_events(harness, "call", tools=[TOOL])
    names = ("output_item.added", "function_call_arguments.delta", "function_call_arguments.done")
    wanted = ("created", "in_progress", *names, "output_item.done", "completed")
    assert kinds(events) == [f"response.{name}" for name in wanted]
    deltas = [one["delta"] for one in events if one["type"].endswith("arguments.delta")]
    assert json.loads("".join(deltas)) == {"city": "K\u00f6ln"}
    assert_shape(events[-1]["response"]["output"], [CALL])


@check(948, "parallel local function calls are streamed one after another", source=f"{EVENTS}, output_index")
def parallel_events(harness: Harness) -> None:
    indices = [
        one["output_index"] for one in local_events(harness, "calls", tools=[TOOL]) if "output_index" in one
    ]
    assert indices == sorted(indices)
    assert set(indices) == {0, 1}


@check(949, "a long local response begins before it is finished, and ends whole", source=EVENTS)
def live(harness: Harness) -> None:
    body = to_json({"model": harness.local, "input": "long", "store": False, "stream": True})

    def attempt() -> None:
        with harness.connect() as connection:
            connection.send(harness.request("POST", PATH, body))
            connection.head()
            first = connection.reader.read_some()
        assert b"response.completed" not in first, "everything came at once"

    best_of_three(attempt)
    events = local_events(harness, "long")
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == LONG


@check(950, "a response to be stored is not answered by a specialist", source="API: Responses, store")
def stored(harness: Harness) -> None:
    got = harness.ask("POST", PATH, to_json({"model": harness.local, "input": "text", "store": True}))
    assert got.status == 404, "it could not be retrieved later"
    assert not harness.teacher.seen


@check(
    951, "a response that continues another is not answered by a specialist", source="API: Responses, state"
)
def continued(harness: Harness) -> None:
    fields = {"model": harness.local, "input": "text", "store": False, "previous_response_id": "resp_1"}
    got = harness.ask("POST", PATH, to_json(fields))
    assert got.status == 404, "the specialist does not know what came before"
