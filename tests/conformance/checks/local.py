"""A local answer has the teacher's shape: the same fields of the same types, whole and streamed."""

from __future__ import annotations

import json
import time
from typing import Any

from openai.types.chat import ChatCompletion

from tests.conformance.checks.errors import is_envelope
from tests.conformance.checks.fields import SCHEMA
from tests.conformance.harness import Lab, question
from tests.conformance.ours import ANSWERS
from tests.conformance.shape import alike
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
def plain(lab: Lab) -> None:
    got = lab.locally("text")
    alike(got.json, COMPLETION)
    ChatCompletion.model_validate(got.json, strict=True)
    assert got.json["choices"][0]["message"]["content"] == ANSWERS["text"]


@check(902, "a local completion names the model asked for, an id of OpenAI's form and now", source=OBJECT)
def frame(lab: Lab) -> None:
    got = lab.locally("text").json
    assert got["model"] == lab.local
    assert got["id"].startswith("chatcmpl-")
    assert abs(got["created"] - time.time()) < 60


@check(903, "local usage adds up", source="API: Chat, the chat completion object, usage")
def usage(lab: Lab) -> None:
    got = lab.locally("text").json["usage"]
    assert got["total_tokens"] == got["prompt_tokens"] + got["completion_tokens"]
    assert min(got["prompt_tokens"], got["completion_tokens"]) > 0


@check(904, "a local completion has the headers of one", source="RFC 9110, 8; API: Debugging requests")
def headers(lab: Lab) -> None:
    got = lab.locally("text")
    assert got.value("content-type") == "application/json"
    assert got.value("content-length") == str(len(got.body))
    assert got.value("x-request-id")
    assert got.value("date")


@check(914, "a local answer under json_schema is JSON in the content", source="API: Structured outputs")
def schema(lab: Lab) -> None:
    got = lab.locally("json", response_format=SCHEMA).json
    alike(got, COMPLETION)
    assert json.loads(got["choices"][0]["message"]["content"]) == {"city": "K\u00f6ln"}


@check(920, "local and hosted answers share a connection", source="RFC 9112, 9.3")
def shared_connection(lab: Lab) -> None:
    local = question(model=lab.local, messages=[{"role": "user", "content": "text"}])
    with lab.connect() as plug:
        for body in (local, question(), local):
            plug.send(lab.request("POST", "/chat/completions", body))
            assert plug.got().status == 200
    assert len(lab.teacher.seen) == 1


@check(
    921,
    "what a specialist cannot do is refused in the envelope when it is asked by name",
    source="API: Error codes, 404",
)
def beyond(lab: Lab) -> None:
    got = lab.ask("POST", "/chat/completions", question(model=lab.local, n=2))
    assert got.status == 404
    is_envelope(got)
    assert not lab.teacher.seen


@check(922, "text parts and the developer role are answered locally, too", source="API: Chat, messages")
def text_parts(lab: Lab) -> None:
    messages = [
        {"role": "developer", "content": "Be brief"},
        {"role": "user", "content": [{"type": "text", "text": "text"}]},
    ]
    got = lab.locally("", messages=messages, metadata={"a": "b"}, user="u", temperature=0.0, seed=1)
    assert got.json["choices"][0]["message"]["content"] == ANSWERS["text"]


@check(923, "the local model is listed like the teacher's", source="API: Models, the model object")
def listed(lab: Lab) -> None:
    name = lab.local
    (own,) = [one for one in lab.ask("GET", "/models").json["data"] if one["id"] == name]
    alike(own, {"id": str, "object": "model", "created": int, "owned_by": str})
    assert lab.ask("GET", f"/models/{name}").json == own
