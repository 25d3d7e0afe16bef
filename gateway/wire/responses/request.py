"""A Responses request, from the client's bytes to the Request which the flow decides on.

The same template over the chat API is another task: another API is other traffic, whose answers
no certificate has seen (functions, for one, are strict here unless the client says otherwise).
"""

from __future__ import annotations

import msgspec

from gateway.core import OWN_PREFIX, IncomingRequest, Request
from gateway.wire.body import given
from gateway.wire.control_headers import read_control_headers
from gateway.wire.responses.conversation import read_conversation
from gateway.wire.responses.fields import peek
from gateway.wire.responses.output_format import Demands, read_demands
from gateway.wire.responses.unsupported import unsupported_reason
from gateway.wire.template import fingerprint, template_text, varying_text


def read_responses(arrival: IncomingRequest) -> Request:
    """Return what `arrival` asks.

    Raises RequestError naming the `param` when its body is no request of the Responses API.
    """
    peeked, fields = peek(arrival.body)
    mode, may_harvest = read_control_headers(arrival.headers)
    messages, reason = read_conversation(peeked)
    beyond = unsupported_reason(peeked, fields) or reason
    choice = given(fields, "tool_choice")
    demands = Demands() if beyond else read_demands(peeked.text, peeked.tools, choice)
    model, shared = peeked.model or "", template_text(messages)
    name = b"responses %b" % model.encode()
    tools, form = given(fields, "tools"), demands.response_format
    # Whoever must call a function answers other than who may: that is another task.
    forced = () if choice in (b"", b'"auto"') else (choice,)
    return Request(
        **msgspec.structs.asdict(arrival),
        surface="responses",
        model=model,
        messages=messages,
        template=fingerprint(name, shared.encode(), tools, form, *forced),
        contract_hash=fingerprint(name, tools, form, *forced),
        template_text=shared,
        text=varying_text(messages),
        is_streamed=bool(peeked.stream),
        wants_usage=True,
        response_format=form,
        tools=demands.tools,
        tool_choice=demands.tool_choice,
        may_call_in_parallel=peeked.parallel_tool_calls is not False,
        wants_json=demands.wants_json,
        max_tokens=peeked.max_output_tokens,
        mode="local" if model.startswith(OWN_PREFIX) else mode,
        may_harvest=may_harvest and peeked.store is not False,
        is_stored_by_default=peeked.store is None,
        unsupported_reason=beyond,
    )
