"""A chat completion request, from the client's bytes to the Request that the cascade decides on."""

from __future__ import annotations

import msgspec

from gateway.core import OWN_PREFIX, IncomingRequest, Message, Request
from gateway.wire.body import get_field, to_integer
from gateway.wire.chat.fields import ChatFields, read_fields
from gateway.wire.chat.unsupported import unsupported_reason
from gateway.wire.control_headers import read_control_headers
from gateway.wire.large_body import large_body_reason
from gateway.wire.template import compute_fingerprints, template_text, varying_text


def read_chat(incoming: IncomingRequest) -> Request:
    """Return `incoming` with its body read.

    Raises RequestError naming the `param` if the body is not a chat completion request.
    """
    fields, raw = read_fields(incoming.content)
    mode, may_harvest = read_control_headers(incoming.headers)
    messages = tuple(Message(message.role, message.text) for message in fields.messages)
    shared = template_text(messages)
    tools, form, choice = (get_field(raw, name) for name in ("tools", "response_format", "tool_choice"))
    template, contract_hash = compute_fingerprints(fields.model.encode(), shared, tools, form, choice)
    options, response_format = fields.stream_options, fields.response_format
    top_logprobs = to_integer(fields.top_logprobs, "top_logprobs")
    to_integer(fields.n, "n")
    return Request(
        **msgspec.structs.asdict(incoming),
        model=fields.model,
        messages=messages,
        template=template,
        contract_hash=contract_hash,
        template_text=shared,
        text=varying_text(messages),
        is_streamed=bool(fields.stream),
        wants_usage=bool(options and options.include_usage),
        response_format=form,
        tools=tools,
        tool_choice=choice,
        may_call_in_parallel=fields.parallel_tool_calls is not False,
        wants_json=response_format is not None and response_format.type in {"json_object", "json_schema"},
        top_logprobs=(top_logprobs or 0) if fields.logprobs else None,
        max_tokens=_max_tokens(fields),
        stop=_stop_strings(fields),
        seed=to_integer(fields.seed, "seed"),
        mode="local" if fields.model.startswith(OWN_PREFIX) else mode,
        may_harvest=may_harvest and fields.store is not False and incoming.grant.may_harvest,
        is_stored=fields.store is True,
        unsupported_reason=unsupported_reason(fields, raw) or large_body_reason(incoming.content),
    )


def _max_tokens(fields: ChatFields) -> int | None:
    max_tokens = to_integer(fields.max_tokens, "max_tokens")
    newer = to_integer(fields.max_completion_tokens, "max_completion_tokens")
    return max_tokens if newer is None else newer


def _stop_strings(fields: ChatFields) -> tuple[str, ...]:
    if isinstance(fields.stop, str):
        return (fields.stop,)
    return tuple(fields.stop or ())
