"""A local stream has the shape of the teacher's."""

from __future__ import annotations

import json
from typing import Any

from openai.types.chat import ChatCompletionChunk

from tests.conformance.checks.fields import SCHEMA
from tests.conformance.checks.local import CHUNK, OPTIONAL_TEXT, USAGE
from tests.conformance.harness import Harness, WireAnswer, best_of_three, chat_body
from tests.conformance.ours import ANSWERS, LONG
from tests.conformance.shape import assert_shape
from tests.conformance.table import check

WITH_USAGE = {"include_usage": True}

PART: dict[str, Any] = {
    "id": str,
    "object": "chat.completion.chunk",
    "created": int,
    "model": str,
    "service_tier": str,
    "system_fingerprint": OPTIONAL_TEXT,
}


def part(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    """Return the shape of a chunk with one choice."""
    return {**PART, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}


def chunks(got: WireAnswer) -> list[dict[str, Any]]:
    """Return the chunks of a stream that ends with `[DONE]`."""
    *events, last = got.events
    assert last == "[DONE]"
    for one in events:
        ChatCompletionChunk.model_validate(one, strict=True)
    return events


@check(905, "a local stream: role, text, an end, [DONE]", source=CHUNK)
def streamed(harness: Harness) -> None:
    first, *texts, last = chunks(harness.ask_locally("text", stream=True))
    assert_shape(first, part({"role": "assistant", "content": "", "refusal": None}))
    for one in texts:
        assert_shape(one, part({"content": str}))
    assert_shape(last, part({}, "stop"))
    assert "".join(one["choices"][0]["delta"]["content"] for one in texts) == ANSWERS["text"]


@check(908, "a local stream has no usage unless it was asked for", source="API: Chat, stream_options")
def no_usage(harness: Harness) -> None:
    assert not any("usage" in one for one in chunks(harness.ask_locally("text", stream=True)))


@check(
    909,
    "a local stream has the headers of a stream",
    source="HTML standard, 9.2; openai-python _streaming.py",
)
def stream_headers(harness: Harness) -> None:
    got = harness.ask_locally("text", stream=True)
    assert got.value("content-type") == "text/event-stream; charset=utf-8"
    assert got.value("x-request-id")
    assert got.value("content-length") is None


@check(
    906, "chunks of one local stream share id, time and model", source=f"{CHUNK}: each chunk has the same id"
)
def one_frame(harness: Harness) -> None:
    got = chunks(harness.ask_locally("text", stream=True))
    assert len({(one["id"], one["created"], one["model"]) for one in got}) == 1


@check(
    907, "a local stream ends with the usage chunk if it was asked for", source="API: Chat, stream_options"
)
def usage_chunk(harness: Harness) -> None:
    *texts, last = chunks(harness.ask_locally("text", stream=True, stream_options=WITH_USAGE))
    assert_shape(last, {**PART, "choices": [], "usage": USAGE})
    assert all(one["usage"] is None for one in texts)


@check(
    915,
    "a local stream under json_schema joins to the same JSON",
    source="API: Structured outputs, streaming",
)
def streamed_schema(harness: Harness) -> None:
    got = chunks(harness.ask_locally("json", stream=True, response_format=SCHEMA))
    text = "".join(one["choices"][0]["delta"].get("content", "") for one in got)
    assert json.loads(text) == {"city": "K\u00f6ln"}


@check(
    916,
    "line ends, quotes and separators of a local answer survive",
    source="RFC 8259, 7; HTML standard, 9.2.6",
)
def lines(harness: Harness) -> None:
    assert harness.ask_locally("lines").json["choices"][0]["message"]["content"] == ANSWERS["lines"]
    got = chunks(harness.ask_locally("lines", stream=True))
    assert "".join(one["choices"][0]["delta"].get("content", "") for one in got) == ANSWERS["lines"]


def long_request(harness: Harness) -> bytes:
    """Return a request for the long answer of the specialist, streamed."""
    messages = [{"role": "user", "content": "long"}]
    body = chat_body(model=harness.local, stream=True, messages=messages)
    return harness.request("POST", "/chat/completions", body)


@check(917, "a long local stream begins before it is finished", source="API: Chat, streaming")
def live(harness: Harness) -> None:
    def attempt() -> None:
        with harness.connect() as connection:
            connection.send(long_request(harness))
            connection.head()
            first = connection.reader.read_some()
        assert b"word0" in first or b"role" in first
        assert b"[DONE]" not in first, "everything came at once"

    best_of_three(attempt)


@check(918, "a long local stream joins to the whole answer, with its usage", source=CHUNK)
def long(harness: Harness) -> None:
    got = chunks(harness.ask_locally("long", stream=True, stream_options=WITH_USAGE))
    assert_shape(got[-1], {**PART, "choices": [], "usage": USAGE})
    assert "".join(one["choices"][0]["delta"].get("content", "") for one in got[:-1]) == LONG
    assert [one["choices"][0]["finish_reason"] for one in got[:-1]][-1] == "stop"


@check(
    919,
    "a client that leaves a local stream disturbs no other client",
    source="openai-node Stream.controller.abort",
)
def leaves(harness: Harness) -> None:
    for _ in range(3):
        with harness.connect() as connection:
            connection.send(long_request(harness))
            connection.head()
    harness.ask_locally("text")
