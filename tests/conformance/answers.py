"""OpenAI's answers as bytes, for a scripted teacher."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tests.conformance.teacher import Play, TeacherRequest


def reply(
    status: int = 200, body: bytes = b"", *headers: str, kind: str | None = "application/json"
) -> bytes:
    """Return an answer with its length; `headers` are whole lines."""
    lines = [*([f"content-type: {kind}"] if kind else []), *headers, f"content-length: {len(body)}"]
    return head(status, *lines) + body


def head(status: int, *lines: str) -> bytes:
    """Return the head of an answer."""
    text = "\r\n".join((f"HTTP/1.1 {status} X", *lines)) + "\r\n\r\n"
    return text.encode("latin-1")


def chunk(data: bytes) -> bytes:
    """Return `data` as one chunk of RFC 9112; an empty one ends the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def stream(
    *pieces: bytes, kind: str = "text/event-stream; charset=utf-8", headers: Sequence[str] = ()
) -> Play:
    """Return a play that sends `pieces` as chunks, each in its own TCP segment if the kernel agrees."""
    opening = head(200, f"content-type: {kind}", "transfer-encoding: chunked", *headers)
    return [opening, *map(chunk, pieces), chunk(b"")]


def to_json(value: object) -> bytes:
    """Return `value` as compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


COMPLETION = to_json(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "gpt-4o-2024-08-06",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello!", "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 9,
            "completion_tokens": 2,
            "total_tokens": 11,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "service_tier": "default",
        "system_fingerprint": "fp_1",
    }
)


def event(value: object) -> bytes:
    """Return a server-sent event of `value` as JSON."""
    return b"data: %b\n\n" % to_json(value)


def chat_event(delta: dict[str, object], finish: str | None = None, **more: object) -> bytes:
    """Return one chunk of a streamed chat completion."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return event({**CHUNK, "choices": [choice], **more})


CHUNK: dict[str, object] = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1_700_000_000,
    "model": "gpt-4o-2024-08-06",
    "service_tier": "default",
    "system_fingerprint": "fp_1",
}
DONE = b"data: [DONE]\n\n"
STREAM = (
    chat_event({"role": "assistant", "content": "", "refusal": None}),
    chat_event({"content": "Hel"}),
    chat_event({"content": "lo!"}),
    chat_event({}, "stop"),
    DONE,
)


def default_play(request: TeacherRequest) -> Play:
    """Return OpenAI's answer to a chat completion, and a bare object for any other path."""
    if not request.path.endswith("/chat/completions"):
        return [reply(200, b'{"object":"list","data":[]}')]
    if b'"stream":true' in request.body.replace(b" ", b""):
        return stream(*STREAM)
    return [reply(200, COMPLETION)]
