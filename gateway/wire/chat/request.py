"""A chat completion request, from the client's bytes to the Request which the flow decides on."""

from __future__ import annotations

import msgspec

from gateway.core import OWN_PREFIX, IncomingRequest, Message, Request
from gateway.wire.body import given
from gateway.wire.chat.fields import Peek, peek
from gateway.wire.chat.unsupported import unsupported_reason
from gateway.wire.control_headers import read_control_headers
from gateway.wire.template import fingerprint, template_text, varying_text


class _Conversation(msgspec.Struct):
    messages: msgspec.Raw


_conversations = msgspec.json.Decoder(_Conversation)


def read_chat(arrival: IncomingRequest) -> Request:
    """Return what `arrival` asks.

    Raises RequestError naming the `param` when its body is no chat completion request.
    """
    peeked, fields = peek(arrival.body)
    mode, may_harvest = read_control_headers(arrival.headers)
    messages = tuple(Message(turn.role, turn.text) for turn in peeked.messages)
    shared = template_text(messages)
    tools, form, choice = (given(fields, name) for name in ("tools", "response_format", "tool_choice"))
    # Whoever must call a function answers other than who may: that is another task.
    forced = () if choice in (b"", b'"auto"') else (choice,)
    options, response_format = peeked.stream_options, peeked.response_format
    return Request(
        **msgspec.structs.asdict(arrival),
        model=peeked.model,
        messages=messages,
        template=fingerprint(peeked.model.encode(), shared.encode(), tools, form, *forced),
        contract_hash=fingerprint(peeked.model.encode(), tools, form, *forced),
        template_text=shared,
        text=varying_text(messages),
        is_streamed=bool(peeked.stream),
        wants_usage=bool(options and options.include_usage),
        response_format=form,
        tools=tools,
        tool_choice=choice,
        may_call_in_parallel=peeked.parallel_tool_calls is not False,
        wants_json=response_format is not None and response_format.type in {"json_object", "json_schema"},
        top_logprobs=(peeked.top_logprobs or 0) if peeked.logprobs else None,
        max_tokens=_max_tokens(peeked),
        stop=_stops(peeked),
        seed=peeked.seed,
        mode="local" if peeked.model.startswith(OWN_PREFIX) else mode,
        may_harvest=may_harvest and peeked.store is not False,
        unsupported_reason=unsupported_reason(peeked, fields),
    )


def chat_messages(request: Request) -> bytes:
    """Return the JSON array of the messages as the client sent them."""
    return bytes(_conversations.decode(request.body).messages)


def _max_tokens(peeked: Peek) -> int | None:
    return peeked.max_tokens if peeked.max_completion_tokens is None else peeked.max_completion_tokens


def _stops(peeked: Peek) -> tuple[str, ...]:
    if isinstance(peeked.stop, str):
        return (peeked.stop,)
    return tuple(peeked.stop or ())
