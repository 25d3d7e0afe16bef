"""A local answer in OpenAI's exact shape, whole or as a stream."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from gateway.core import Draft, Request, Token, Usage
from gateway.wire.sse import DONE
from gateway.wire.tool_calls import ToolCall, from_text

_encode = msgspec.json.Encoder().encode
# About the size of the tokens in which a hosted model's text comes.
_DELTA = re.compile(r"\s*\S{1,6}|\s+")

Delta = tuple[dict[str, Any], Sequence[Token]]


class Frame(msgspec.Struct, frozen=True):
    """What every part of one answer repeats; `created` is unix seconds."""

    request: Request
    completion_id: str
    created: int

    def fields(self, kind: str) -> dict[str, object]:
        """Return the fields which come first in an object of `kind`."""
        return {
            "id": self.completion_id,
            "object": kind,
            "created": self.created,
            "model": self.request.model,
        }

    def event(self, choices: list[dict[str, object]], **more: object) -> bytes:
        """Return one chunk as an event."""
        chunk = {
            **self.fields("chat.completion.chunk"),
            "service_tier": "default",
            "system_fingerprint": None,
            "choices": choices,
            **({"usage": None} if self.request.wants_usage else {}),
            **more,
        }
        return b"data: %b\n\n" % _encode(chunk)


def render(frame: Frame, draft: Draft, usage: Usage) -> bytes:
    """Return the JSON of a `chat.completion`."""
    calls = _calls(frame, draft)
    message: dict[str, object] = {"role": "assistant", "content": draft.text, "refusal": None}
    if calls:
        message |= {"content": None, "tool_calls": calls}
    choice = {
        "index": 0,
        "message": {**message, "annotations": []},
        "logprobs": _logprobs(draft.tokens) if draft.tokens and not calls else None,
        "finish_reason": _calls_end(frame) if calls else draft.finish_reason,
    }
    return _encode(
        {
            **frame.fields("chat.completion"),
            "choices": [choice],
            "usage": _usage(usage),
            "service_tier": "default",
            "system_fingerprint": None,
        }
    )


def render_stream(frame: Frame, draft: Draft, usage: Usage) -> bytes:
    """Return the same answer as a whole event stream, from the role to `[DONE]`."""
    if calls := _calls(frame, draft):
        events = [frame.event([_choice(delta)]) for delta in _call_deltas(calls)]
        return b"".join(events) + closing_events(frame, _calls_end(frame), usage)
    return opening_events(frame, draft) + closing_events(frame, draft.finish_reason, usage)


def opening_events(frame: Frame, draft: Draft) -> bytes:
    """Return the events of the role and of the draft's text, as far as there is one."""
    role = frame.event([_choice({"role": "assistant", "content": "", "refusal": None})])
    events = [frame.event([_choice(delta, tokens)]) for delta, tokens in _text_deltas(draft)]
    return b"".join((role, *events))


def piece_event(frame: Frame, text: str) -> bytes:
    """Return the event of a piece of text."""
    return frame.event([_choice({"content": text})])


def closing_events(frame: Frame, finish_reason: str, usage: Usage) -> bytes:
    """Return what ends a stream; the usage only for whoever asked for it."""
    events = [frame.event([{**_choice({}), "finish_reason": finish_reason}])]
    if frame.request.wants_usage:
        events.append(frame.event([], usage=_usage(usage)))
    return b"".join((*events, b"data: %b\n\n" % DONE))


def _choice(delta: dict[str, Any], tokens: Sequence[Token] = ()) -> dict[str, object]:
    logprobs = _logprobs(tokens) if tokens else None
    return {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": None}


def _text_deltas(draft: Draft) -> Iterator[Delta]:
    """Yield the text in pieces which join to exactly it, with their tokens if these are wanted."""
    if not draft.tokens:
        yield from (({"content": piece}, ()) for piece in _DELTA.findall(draft.text))
    elif "".join(token.text for token in draft.tokens) == draft.text:
        yield from (({"content": token.text}, (token,)) for token in draft.tokens)
    else:
        # A character of several tokens, or a stop string cut off: no piece would be text by itself.
        yield {"content": draft.text}, draft.tokens


def _calls(frame: Frame, draft: Draft) -> list[dict[str, Any]]:
    """Return the draft's tool calls in OpenAI's shape; none when it is text."""
    if not frame.request.tools:
        return []
    return [
        {
            "id": f"call_{_call_id(frame.completion_id, index)}",
            "type": "function",
            "function": {"name": call.name, "arguments": _arguments(call)},
        }
        for index, call in enumerate(from_text(draft.text) or ())
    ]


def _calls_end(frame: Frame) -> str:
    # A call which the client asked for by name ends with "stop" at OpenAI, measured in
    # vllm-project/vllm#25054.
    return "stop" if frame.request.tool_choice.startswith(b"{") else "tool_calls"


def _call_deltas(calls: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": None, "refusal": None}
    for index, call in enumerate(calls):
        function = call["function"]
        named = {**call, "function": {"name": function["name"], "arguments": ""}}
        yield {"tool_calls": [{"index": index, **named}]}
        for piece in _DELTA.findall(function["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _call_id(completion_id: str, index: int) -> str:
    return hashlib.blake2b(f"{completion_id} {index}".encode(), digest_size=12).hexdigest()


def _arguments(call: ToolCall) -> str:
    return bytes(call.arguments).decode()


def _logprobs(tokens: Sequence[Token]) -> dict[str, object]:
    content = [
        {
            **_likely(token.text, token.logprob),
            "top_logprobs": [_likely(text, logprob) for text, logprob in token.top],
        }
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def _likely(text: str, logprob: float) -> dict[str, object]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode("utf-8", "replace"))}


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
