"""A local stream has the shape of one of the teacher's."""

from __future__ import annotations

import json
from typing import Any

from openai.types.chat import ChatCompletionChunk

from tests.conformance.checks.fields import SCHEMA
from tests.conformance.checks.local import CHUNK, OPTIONAL_TEXT, USAGE
from tests.conformance.harness import Got, Lab, question
from tests.conformance.ours import ANSWERS, LONG
from tests.conformance.shape import alike
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


def chunks(got: Got) -> list[dict[str, Any]]:
    """Return the chunks of a stream which `[DONE]` ends."""
    *events, last = got.events
    assert last == "[DONE]"
    for one in events:
        ChatCompletionChunk.model_validate(one, strict=True)
    return events


@check(905, "a local stream: role, text, an end, [DONE]", source=CHUNK)
def streamed(lab: Lab) -> None:
    first, *texts, last = chunks(lab.locally("text", stream=True))
    alike(first, part({"role": "assistant", "content": "", "refusal": None}))
    for one in texts:
        alike(one, part({"content": str}))
    alike(last, part({}, "stop"))
    assert "".join(one["choices"][0]["delta"]["content"] for one in texts) == ANSWERS["text"]


@check(908, "a local stream has no word of usage if nobody asked", source="API: Chat, stream_options")
def no_usage(lab: Lab) -> None:
    assert not any("usage" in one for one in chunks(lab.locally("text", stream=True)))


@check(909, "a local stream has the headers of one", source="HTML standard, 9.2; openai-python _streaming.py")
def stream_headers(lab: Lab) -> None:
    got = lab.locally("text", stream=True)
    assert got.value("content-type") == "text/event-stream; charset=utf-8"
    assert got.value("x-request-id")
    assert got.value("content-length") is None


@check(
    906, "chunks of one local stream share id, time and model", source=f"{CHUNK}: each chunk has the same id"
)
def one_frame(lab: Lab) -> None:
    got = chunks(lab.locally("text", stream=True))
    assert len({(one["id"], one["created"], one["model"]) for one in got}) == 1


@check(
    907, "a local stream ends with the usage chunk if it was asked for", source="API: Chat, stream_options"
)
def usage_chunk(lab: Lab) -> None:
    *texts, last = chunks(lab.locally("text", stream=True, stream_options=WITH_USAGE))
    alike(last, {**PART, "choices": [], "usage": USAGE})
    assert all(one["usage"] is None for one in texts)


@check(
    915,
    "a local stream under json_schema joins to the same JSON",
    source="API: Structured outputs, streaming",
)
def streamed_schema(lab: Lab) -> None:
    got = chunks(lab.locally("json", stream=True, response_format=SCHEMA))
    text = "".join(one["choices"][0]["delta"].get("content", "") for one in got)
    assert json.loads(text) == {"city": "K\u00f6ln"}


@check(
    916,
    "line ends, quotes and separators of a local answer survive",
    source="RFC 8259, 7; HTML standard, 9.2.6",
)
def lines(lab: Lab) -> None:
    assert lab.locally("lines").json["choices"][0]["message"]["content"] == ANSWERS["lines"]
    got = chunks(lab.locally("lines", stream=True))
    assert "".join(one["choices"][0]["delta"].get("content", "") for one in got) == ANSWERS["lines"]


@check(917, "a long local stream begins before it is finished", source="API: Chat, streaming")
def live(lab: Lab) -> None:
    with lab.connect() as plug:
        asked = [{"role": "user", "content": "long"}]
        plug.send(
            lab.request("POST", "/chat/completions", question(model=lab.local, stream=True, messages=asked))
        )
        plug.head()
        first = plug.source.more()
        assert b"word0" in first or b"role" in first
        assert b"[DONE]" not in first, "everything came at once"


@check(918, "a long local stream joins to the whole answer, with its usage", source=CHUNK)
def long(lab: Lab) -> None:
    got = chunks(lab.locally("long", stream=True, stream_options=WITH_USAGE))
    alike(got[-1], {**PART, "choices": [], "usage": USAGE})
    assert "".join(one["choices"][0]["delta"].get("content", "") for one in got[:-1]) == LONG
    assert [one["choices"][0]["finish_reason"] for one in got[:-1]][-1] == "stop"


@check(919, "a client which leaves a local stream harms nobody", source="openai-node Stream.controller.abort")
def leaves(lab: Lab) -> None:
    for _ in range(3):
        with lab.connect() as plug:
            asked = [{"role": "user", "content": "long"}]
            plug.send(
                lab.request(
                    "POST", "/chat/completions", question(model=lab.local, stream=True, messages=asked)
                )
            )
            plug.head()
    lab.locally("text")
