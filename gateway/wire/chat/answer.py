"""A local answer in the exact shape of OpenAI's chat API, whole or as a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from gateway.core import Draft, Request, Token, Usage
from gateway.wire.chunks import derive_item_id, split_text
from gateway.wire.sse import DONE
from gateway.wire.tool_calls import parse_tool_calls

_encode = msgspec.json.Encoder().encode


class ChatRenderer:
    """Renders one local answer to a chat request; see surfaces.Renderer. `clock` returns unix seconds."""

    def __init__(self, request: Request, clock: Callable[[], float]) -> None:
        self._request = request
        self._id = f"chatcmpl-{request.id}"
        self._created = int(clock())

    def render_whole(self, draft: Draft, usage: Usage) -> bytes:
        """Return the JSON of a `chat.completion`."""
        calls = self._calls(draft)
        message: dict[str, object] = {"role": "assistant", "content": draft.text, "refusal": None}
        if calls:
            message |= {"content": None, "tool_calls": calls}
        choice = {
            "index": 0,
            "message": {**message, "annotations": []},
            "logprobs": _render_logprobs(draft.tokens) if draft.tokens and not calls else None,
            "finish_reason": self._calls_end() if calls else draft.finish_reason,
        }
        return _encode(
            {
                **self._head("chat.completion"),
                "choices": [choice],
                "usage": _render_usage(usage),
                "service_tier": "default",
                "system_fingerprint": None,
            }
        )

    def render_stream(self, draft: Draft, usage: Usage) -> bytes:
        """Return the same answer as a whole event stream, from the role to `[DONE]`."""
        if calls := self._calls(draft):
            events = [self._event([_choice(delta)]) for delta in _call_deltas(calls)]
            return b"".join(events) + self.render_closing(self._calls_end(), usage)
        return self.render_opening(draft) + self.render_closing(draft.finish_reason, usage)

    def render_opening(self, draft: Draft) -> bytes:
        """Return the events of the role and of the draft's text so far."""
        role = self._event([_choice({"role": "assistant", "content": "", "refusal": None})])
        events = [self._event([_choice({"content": text}, tokens)]) for text, tokens in _deltas(draft)]
        return b"".join((role, *events))

    def render_piece(self, text: str) -> bytes:
        """Return the event of a piece of text."""
        return self._event([_choice({"content": text})])

    def render_closing(self, finish_reason: str, usage: Usage) -> bytes:
        """Return the events that end a stream; the usage only if the client asked for it."""
        events = [self._event([{**_choice({}), "finish_reason": finish_reason}])]
        if self._request.wants_usage:
            events.append(self._event([], usage=_render_usage(usage)))
        return b"".join((*events, b"data: %b\n\n" % DONE))

    def _head(self, kind: str) -> dict[str, object]:
        """Return the fields that come first in an object of `kind`."""
        return {"id": self._id, "object": kind, "created": self._created, "model": self._request.model}

    def _event(self, choices: list[dict[str, object]], **more: object) -> bytes:
        chunk = {
            **self._head("chat.completion.chunk"),
            "service_tier": "default",
            "system_fingerprint": None,
            "choices": choices,
            **({"usage": None} if self._request.wants_usage else {}),
            **more,
        }
        return b"data: %b\n\n" % _encode(chunk)

    def _calls(self, draft: Draft) -> list[dict[str, Any]]:
        """Return the draft's tool calls in OpenAI's shape; empty when it is text."""
        if not self._request.tools:
            return []
        return [
            {
                "id": f"call_{derive_item_id(self._id, index)}",
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments_text},
            }
            for index, call in enumerate(parse_tool_calls(draft.text) or ())
        ]

    def _calls_end(self) -> str:
        # At OpenAI a call that the client asked for by name ends with "stop", measured in
        # vllm-project/vllm#25054.
        return "stop" if self._request.tool_choice.startswith(b"{") else "tool_calls"


def _choice(delta: dict[str, Any], tokens: Sequence[Token] = ()) -> dict[str, object]:
    logprobs = _render_logprobs(tokens) if tokens else None
    return {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": None}


def _deltas(draft: Draft) -> Iterator[tuple[str, Sequence[Token]]]:
    """Yield pieces that join to exactly the text, with their tokens if the client wants these."""
    if not draft.tokens:
        yield from ((piece, ()) for piece in split_text(draft.text))
    elif "".join(token.text for token in draft.tokens) == draft.text:
        yield from ((token.text, (token,)) for token in draft.tokens)
    else:
        # A character of several tokens, or a stop string cut off: no piece would be text by itself.
        yield draft.text, draft.tokens


def _call_deltas(calls: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": None, "refusal": None}
    for index, call in enumerate(calls):
        function = call["function"]
        named = {**call, "function": {"name": function["name"], "arguments": ""}}
        yield {"tool_calls": [{"index": index, **named}]}
        for piece in split_text(function["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _render_logprobs(tokens: Sequence[Token]) -> dict[str, object]:
    content = [
        {
            **_token(token.text, token.logprob),
            "top_logprobs": [_token(text, logprob) for text, logprob in token.top],
        }
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def _token(text: str, logprob: float) -> dict[str, object]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode("utf-8", "replace"))}


def _render_usage(usage: Usage) -> dict[str, object]:
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
