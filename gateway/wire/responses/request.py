"""A Responses request, from the client's bytes to the Request that the cascade decides on.

The same template over the chat API is another task: another API is other traffic, and no certificate
has seen its answers (functions, for one, are strict here unless the client says otherwise).
"""

from __future__ import annotations

import msgspec

from gateway.core import OWN_PREFIX, IncomingRequest, Request
from gateway.wire.body import get_field, to_integer
from gateway.wire.control_headers import read_control_headers
from gateway.wire.large_body import large_body_reason
from gateway.wire.responses.conversation import read_conversation
from gateway.wire.responses.fields import read_fields
from gateway.wire.responses.output_format import OutputFormat, read_output_format
from gateway.wire.responses.unsupported import unsupported_reason
from gateway.wire.template import compute_fingerprints, template_text, varying_text


def read_responses(incoming: IncomingRequest) -> Request:
    """Return `incoming` with its body read.

    Raises RequestError naming the `param` if the body is not a request of the Responses API.
    """
    fields, raw = read_fields(incoming.content)
    mode, may_harvest = read_control_headers(incoming.headers)
    to_integer(fields.top_logprobs, "top_logprobs")
    messages, input_reason = read_conversation(fields)
    reason = unsupported_reason(fields, raw) or input_reason or large_body_reason(incoming.content)
    choice = get_field(raw, "tool_choice")
    output = OutputFormat() if reason else read_output_format(fields.text, fields.tools, choice)
    model, shared = fields.model or "", template_text(messages)
    name = b"responses %b" % model.encode()
    tools, form = get_field(raw, "tools"), output.response_format
    template, contract_hash = compute_fingerprints(name, shared, tools, form, choice)
    return Request(
        **msgspec.structs.asdict(incoming),
        surface="responses",
        model=model,
        messages=messages,
        template=template,
        contract_hash=contract_hash,
        template_text=shared,
        text=varying_text(messages),
        is_streamed=bool(fields.stream),
        wants_usage=True,
        response_format=form,
        tools=output.tools,
        tool_choice=output.tool_choice,
        may_call_in_parallel=fields.parallel_tool_calls is not False,
        wants_json=output.wants_json,
        max_tokens=to_integer(fields.max_output_tokens, "max_output_tokens"),
        mode="local" if model.startswith(OWN_PREFIX) else mode,
        may_harvest=may_harvest and fields.store is not False and incoming.grant.may_harvest,
        is_stored=fields.store is not False,
        is_stored_by_default=fields.store is None,
        unsupported_reason=reason,
    )
