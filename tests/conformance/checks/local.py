"""A local answer has the teacher's shape: the same fields of the same types, whole and streamed."""

from __future__ import annotations

import json
import time
from typing import Any

from openai.types.chat import ChatCompletion

from tests.conformance.checks.errors import assert_error
from tests.conformance.checks.fields import SCHEMA
from tests.conformance.harness import Harness, chat_body
from tests.conformance.ours import ANSWERS
from tests.conformance.shape import assert_shape
from tests.conformance.table import check

OBJECT = "API: Chat, the chat completion object"
CHUNK = "API: Chat, the chat completion chunk object"
OPTIONAL_TEXT = (str, type(None))
USAGE: dict[str, Any] = {
    "prompt_tokens": int,
    "completion_tokens": int,
    "total_tokens": int,
    "prompt_tokens_details": {"cached_tokens": int, "audio_tokens": int},
    "completion_tokens_details": {
        "reasoning_tokens": int,
        "audio_tokens": int,
        "accepted_prediction_tokens": int,
        "rejected_prediction_tokens": int,
    },
}
MESSAGE: dict[str, Any] = {"role": "assistant", "content": str, "refusal": None, "annotations": []}
CHOICE: dict[str, Any] = {"index": 0, "message": MESSAGE, "logprobs": None, "finish_reason": "stop"}
COMPLETION: dict[str, Any] = {
    "id": str,
    "object": "chat.completion",
    "created": int,
    "model": str,
    "choices": [CHOICE],
    "usage": USAGE,
    "service_tier": str,
    "system_fingerprint": OPTIONAL_TEXT,
}


@check(901, "a local completion has every field of OpenAI's and no other", source=OBJECT)
def plain(harness: Harness) -> None:
    got = harness.ask_locally("text")
    assert_shape(got.json, COMPLETION)
    ChatCompletion.model_validate(got.json, strict=True)
    assert got.json["choices"][0]["message"]["content"] == ANSWERS["text"]


@check(902, "a local completion names the model asked for, an id of OpenAI's form and now", source=OBJECT)
def frame(harness: Harness) -> None:
    got = harness.ask_locally("text").json
    assert got["model"] == harness.local
    assert got["id"].startswith("chatcmpl-")
    assert abs(got["created"] - time.time()) < 60


@check(903, "local usage adds up", source="API: Chat, the chat completion object, usage")
def usage(harness: Harness) -> None:
    got = harness.ask_locally("text").json["usage"]
    assert got["total_tokens"] == got["prompt_tokens"] + got["completion_tokens"]
    assert min(got["prompt_tokens"], got["completion_tokens"]) > 0


@check(
    904, "a local completion has the headers of a completion", source="RFC 9110, 8; API: Debugging requests"
)
def headers(harness: Harness) -> None:
    got = harness.ask_locally("text")
    assert got.value("content-type") == "application/json"
    assert got.value("content-length") == str(len(got.body))
    assert got.value("x-request-id")
    assert got.value("date")


@check(914, "a local answer under json_schema is JSON in the content", source="API: Structured outputs")
def schema(harness: Harness) -> None:
    got = harness.ask_locally("json", response_format=SCHEMA).json
    assert_shape(got, COMPLETION)
    assert json.loads(got["choices"][0]["message"]["content"]) == {"city": "K\u00f6ln"}


@check(920, "local and hosted answers share a connection", source="RFC 9112, 9.3")
def shared_connection(harness: Harness) -> None:
    local = chat_body(model=harness.local, messages=[{"role": "user", "content": "text"}])
    with harness.connect() as connection:
        for body in (local, chat_body(), local):
            connection.send(harness.request("POST", "/chat/completions", body))
            assert connection.got().status == 200
    assert len(harness.teacher.seen) == 1


@check(
    921,
    "a request beyond the specialist is refused in the envelope when the specialist is named",
    source="API: Error codes, 404",
)
def beyond(harness: Harness) -> None:
    got = harness.ask("POST", "/chat/completions", chat_body(model=harness.local, n=2))
    assert got.status == 404
    assert_error(got)
    assert not harness.teacher.seen


@check(922, "text parts and the developer role are answered locally, too", source="API: Chat, messages")
def text_parts(harness: Harness) -> None:
    messages = [
        {"role": "developer", "content": "Be brief"},
        {"role": "user", "content": [{"type": "text", "text": "text"}]},
    ]
    got = harness.ask_locally("", messages=messages, metadata={"a": "b"}, user="u", temperature=0.0, seed=1)
    assert got.json["choices"][0]["message"]["content"] == ANSWERS["text"]


@check(923, "the local model is listed like the teacher's", source="API: Models, the model object")
def listed(harness: Harness) -> None:
    name = harness.local
    (own,) = [one for one in harness.ask("GET", "/models").json["data"] if one["id"] == name]
    assert_shape(own, {"id": str, "object": "model", "created": int, "owned_by": str})
    assert harness.ask("GET", f"/models/{name}").json == own
