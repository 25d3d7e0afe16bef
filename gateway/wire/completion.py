"""A local answer in OpenAI's exact shape, whole or as a stream."""

from __future__ import annotations

import msgspec

from gateway.core import Request, Usage
from gateway.wire.sse import DONE

_encode = msgspec.json.Encoder().encode


def render(request: Request, text: str, usage: Usage, completion_id: str, created: int) -> bytes:
    """Return the JSON of a `chat.completion`; `created` is unix seconds."""
    return _encode(
        {
            "id": completion_id,
            "object": "chat.completion",
            "created": created,
            "model": request.model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text, "refusal": None, "annotations": []},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": _usage(usage),
            "service_tier": "default",
            "system_fingerprint": None,
        }
    )


def render_stream(request: Request, text: str, usage: Usage, completion_id: str, created: int) -> bytes:
    """Return the same answer as a whole event stream, from the role to `[DONE]`.

    Only a request with `include_usage` gets the usage chunk, and `"usage": null` in the others.
    """
    shared: dict[str, object] = {
        "id": completion_id,
        "object": "chat.completion.chunk",
        "created": created,
        "model": request.model,
        "service_tier": "default",
        "system_fingerprint": None,
    }
    choices = [
        [_choice({"role": "assistant", "content": "", "refusal": None}, None)],
        [_choice({"content": text}, None)],
        [_choice({}, "stop")],
    ]
    not_yet = {"usage": None} if request.wants_usage else {}
    chunks = [{**shared, "choices": choice, **not_yet} for choice in choices]
    if request.wants_usage:
        chunks.append({**shared, "choices": [], "usage": _usage(usage)})
    events = [_encode(chunk) for chunk in chunks]
    return b"".join(b"data: %b\n\n" % event for event in (*events, DONE))


def _choice(delta: dict[str, object], finish_reason: str | None) -> dict[str, object]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _usage(usage: Usage) -> dict[str, object]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
