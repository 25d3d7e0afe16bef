"""A teacher for clients: its answer depends on the question alone, so that scripts need no timing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.conformance.answers import COMPLETION, DONE, chat_event, chunk, event, reply, stream, to_json
from tests.conformance.checks.response_streams import OPENING
from tests.conformance.checks.responses import RESPONSE
from tests.conformance.ours import ANSWERS
from tests.conformance.teacher import Play, Step, TeacherRequest, cut, hang, pause

ENDLESS_EVENTS = 5_000
"""A hundred seconds of them."""
VECTOR = [0.5, -0.25, 2.0]
# VECTOR as little-endian float32.
PACKED = "AAAAPwAAgL4AAABA"
CALL = {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"city":"K\u00f6ln"}'}}
ITEM = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "find",
    "arguments": '{"city":"K\u00f6ln"}',
    "status": "completed",
}


def answer(request: TeacherRequest) -> Play:
    """Return the teacher's reaction to one request: "say 429", "cut", "endless", or one of ANSWERS."""
    if request.method != "POST":
        return [reply(200, to_json({"object": "list", "data": []}))]
    body = json.loads(request.body)
    if request.path.endswith("/embeddings"):
        return [reply(200, _embeddings(body))]
    text = last_text(body)
    if text.startswith("say "):
        return [_refusal(int(text.removeprefix("say ")))]
    if request.path.endswith("/responses"):
        return _respond(body, text)
    return _chat(body, text)


def last_text(body: dict[str, Any]) -> str:
    """Return the text of the last message, of a chat completion or a response."""
    latest = body["messages"][-1]["content"] if "messages" in body else body["input"]
    if isinstance(latest, list):
        last = latest[-1]
        latest = last["text"] if "text" in last else last_text({"input": last["content"]})
    return str(latest)


def _refusal(status: int) -> bytes:
    error = {"message": f"This is a {status}.", "type": "some_type", "param": None, "code": "some_code"}
    # A millisecond, so that no test waits for a client's own pause.
    return reply(status, to_json({"error": error}), "retry-after-ms: 1")


def _embeddings(body: dict[str, Any]) -> bytes:
    vector = PACKED if body.get("encoding_format") == "base64" else VECTOR
    count = len(body["input"]) if isinstance(body["input"], list) else 1
    data = [{"object": "embedding", "index": index, "embedding": vector} for index in range(count)]
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    return to_json({"object": "list", "data": data, "model": body["model"], "usage": usage})


def _chat(body: dict[str, Any], text: str) -> Play:
    if body.get("stream"):
        return _broken(text, chat_event({"role": "assistant", "content": "x"})) or stream(*_chunks(text))
    if text == "endless":
        return [hang]
    completion = json.loads(COMPLETION)
    message = completion["choices"][0]["message"]
    if text == "call":
        message |= {"content": None, "tool_calls": [CALL]}
        completion["choices"][0]["finish_reason"] = "tool_calls"
    else:
        message["content"] = ANSWERS.get(text, "Hello!")
    return [reply(200, to_json(completion))]


def _chunks(text: str) -> Iterator[bytes]:
    if text == "call":
        named = {**CALL, "index": 0, "function": {"name": "find", "arguments": ""}}
        yield chat_event({"role": "assistant", "content": None, "tool_calls": [named]})
        for piece in ('{"city":', '"K\u00f6ln"}'):
            yield chat_event({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
        yield chat_event({}, "tool_calls")
    else:
        yield chat_event({"role": "assistant", "content": "", "refusal": None})
        for piece in _pieces(ANSWERS[text]):
            yield chat_event({"content": piece})
        yield chat_event({}, "stop")
    yield event({**json.loads(COMPLETION), "object": "chat.completion.chunk", "choices": []})
    yield DONE


def _respond(body: dict[str, Any], text: str) -> Play:
    if body.get("stream"):
        begun = [_named({"type": "response.created", "response": _begun(), "sequence_number": 0})]
        return _broken(text, *begun, _delta("x", 1)) or stream(*begun, *_response_events(text))
    return [reply(200, to_json(_response(text)))]


def _response(text: str) -> dict[str, Any]:
    usage: dict[str, Any] = {**USAGE}
    item = ITEM if text == "call" else {**MESSAGE, "content": [_part(ANSWERS[text])]}
    return {**RESPONSE, "tools": [], "tool_choice": "auto", "metadata": {}, "output": [item], "usage": usage}


USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 2,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 11,
}
MESSAGE = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": []}
PLACE = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
CALL_PLACE = {"item_id": "fc_1", "output_index": 0}


def _begun() -> dict[str, Any]:
    return {**_response("text"), "status": "in_progress", "output": [], "usage": None}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _delta(text: str, number: int) -> bytes:
    fields = {"type": "response.output_text.delta", **PLACE, "delta": text, "logprobs": []}
    return _named({**fields, "sequence_number": number})


def _response_events(text: str) -> Iterator[bytes]:
    response = _response(text)
    item = response["output"][0]
    events: list[dict[str, Any]] = []
    if text == "call":
        events.append(
            {"type": "response.output_item.added", "output_index": 0, "item": {**item, "arguments": ""}}
        )
        for piece in ('{"city":', '"K\u00f6ln"}'):
            events.append({"type": "response.function_call_arguments.delta", **CALL_PLACE, "delta": piece})
        done = {"type": "response.function_call_arguments.done", **CALL_PLACE, "name": "find"}
        events.append({**done, "arguments": item["arguments"]})
    else:
        events.append(
            {
                "type": "response.output_item.added",
                "output_index": 0,
                "item": {**MESSAGE, "status": "in_progress"},
            }
        )
        events.append({"type": "response.content_part.added", **PLACE, "part": _part("")})
        for piece in _pieces(ANSWERS[text]):
            events.append({"type": "response.output_text.delta", **PLACE, "delta": piece, "logprobs": []})
        events.append({"type": "response.output_text.done", **PLACE, "text": ANSWERS[text], "logprobs": []})
        events.append({"type": "response.content_part.done", **PLACE, "part": item["content"][0]})
    events.append({"type": "response.output_item.done", "output_index": 0, "item": item})
    events.append({"type": "response.completed", "response": response})
    for number, one in enumerate(events, 1):
        yield _named({**one, "sequence_number": number})


def _named(fields: dict[str, Any]) -> bytes:
    return b"event: %b\n" % fields["type"].encode() + event(fields)


def _broken(text: str, *pieces: bytes) -> Play | None:
    """Return a stream that is cut, or never ends, if the question says so."""
    if text == "cut":
        return [OPENING, *map(chunk, pieces), pause(0.05), cut]
    if text == "endless":
        ticks: list[Step] = [
            step for _ in range(ENDLESS_EVENTS) for step in (chunk(b": tick\n\n"), pause(0.02))
        ]
        return [OPENING, *map(chunk, pieces), *ticks]
    return None


def _pieces(text: str) -> list[str]:
    return [text[start : start + 4] for start in range(0, len(text), 4)]
