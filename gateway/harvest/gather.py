"""From outcomes to the rows that the harvest keeps."""

from __future__ import annotations

import msgspec

from gateway.core import Ending, Outcome, Reading, Usage, ending_of
from gateway.harvest.base import Row, Sink
from gateway.wire.surfaces import codec_of

_encoder = msgspec.msgpack.Encoder()


class Gatherer:
    """An observer that puts the teacher's usable answers into a sink. Never raises, never blocks."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def __call__(self, outcome: Outcome, reading: Reading) -> None:
        """Keep the row of `outcome`, if there is one."""
        row = row_of(outcome, reading)
        if row is not None:
            self._sink.put(row)


def row_of(outcome: Outcome, reading: Reading) -> Row | None:
    """Return what can be learnt from `outcome`; None when nothing can or may be.

    Only whole answers of the teacher teach, texts and tool calls: one cut short, filtered or
    refused would teach the specialist to do the same. Held out, such an answer is evidence all the same.
    """
    request, route, ending = outcome.request, outcome.route, ending_of(outcome, reading)
    if not _is_allowed(outcome) or not _is_useful(ending, outcome) or route is None:
        return None
    usage = reading.usage or Usage(0, 0)
    return Row(
        request_id=request.id,
        at=outcome.at,
        task=route.task,
        match=route.match,
        model=request.model,
        template=request.template,
        template_text=request.template_text,
        contract_hash=request.contract_hash,
        text=request.text,
        answer=reading.text or "",
        messages=codec_of(request).messages(request),
        is_held_out=outcome.is_held_out,
        propensity=outcome.audit_propensity,
        ending=ending,
        form=request.form,
        demands=_encoder.encode(request.demands) if outcome.is_held_out else b"",
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        caller=request.caller,
        tenant=request.tenant,
        is_vouched_for=request.is_vouched_for,
        scope=outcome.plan.scope,
        place=route.place,
    )


def _is_allowed(outcome: Outcome) -> bool:
    # The reserve of a budget pays for audits of drafts that pass, and for nothing else: rows that a
    # decision has chosen are no evidence.
    return outcome.request.may_harvest and outcome.plan.may_harvest and not outcome.plan.is_reserve


def _is_useful(ending: Ending, outcome: Outcome) -> bool:
    return ending == "whole" or (outcome.is_held_out and ending != "none")
