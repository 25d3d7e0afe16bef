"""An answer of an endpoint that is only passed on: what it took, and the id to ask for it again."""

from __future__ import annotations

import msgspec

from gateway.core import Reading, Usage
from gateway.wire.billing import BillingFacts, read_events, read_lines, read_object
from gateway.wire.sse import iter_events
from gateway.wire.written import count_written_choices


def parse_answer(content: bytes, is_event_stream: bool, is_complete: bool) -> Reading:
    """Return what an answer took, given without its content-encoding; never raises. It has no text."""
    events = list(iter_events(content)) if is_event_stream else [content]
    facts = read_events(events) if is_event_stream else _read_body(content)
    return Reading(
        text=None,
        model=facts.model,
        usage=facts.usage,
        is_complete=is_complete,
        written_bytes=count_written_choices(events) if facts.usage is None else 0,
        service_tier=facts.service_tier,
        id=facts.id,
        status=facts.status,
        output_file=facts.output_file,
    )


def _read_body(content: bytes) -> BillingFacts:
    # The output of a batch is a file with an answer per line.
    if content.startswith(b"{") and b'"custom_id"' in content[:4096]:
        lines = [facts for facts in read_lines(content) if facts.usage is not None]
        if lines:
            return BillingFacts(_add_up([facts.usage for facts in lines if facts.usage]), lines[0].model)
    return read_object(content)


def _add_up(usages: list[Usage]) -> Usage:
    values = [msgspec.structs.astuple(usage) for usage in usages]
    return Usage(*(sum(column) for column in zip(*values, strict=True)))
