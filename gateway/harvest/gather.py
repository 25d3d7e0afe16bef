"""From outcomes to the rows that the harvest keeps."""

from __future__ import annotations

from gateway.core import Outcome, Reading, Usage
from gateway.harvest.base import Row, Sink
from gateway.wire.surfaces import codec_of


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
    refused would teach the specialist to do the same.
    """
    request, route, text = outcome.request, outcome.route, reading.text
    if not _is_allowed(outcome) or not _is_whole(outcome, reading) or route is None or not text:
        return None
    usage = reading.usage or Usage(0, 0)
    return Row(
        request_id=request.id,
        at=outcome.at,
        task=route.task,
        lane=route.lane,
        model=request.model,
        template_text=request.template_text,
        contract_hash=request.contract_hash,
        text=request.text,
        answer=text,
        messages=codec_of(request).messages(request),
        is_held_out=outcome.is_held_out,
        propensity=outcome.audit_propensity,
        epoch=outcome.epoch,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        caller=request.caller,
    )


def _is_allowed(outcome: Outcome) -> bool:
    is_teachers = outcome.decision in ("escalated", "audit")
    return is_teachers and outcome.request.may_harvest and outcome.plan.may_harvest


def _is_whole(outcome: Outcome, reading: Reading) -> bool:
    is_received = outcome.status == 200 and outcome.is_complete and outcome.is_captured
    return is_received and reading.is_complete and reading.finish_reason in ("stop", "tool_calls")
