"""An answer of an endpoint that is only passed on: what it took, and the id to ask for it again."""

from __future__ import annotations

from gateway.core import Reading
from gateway.wire.billing import read_events, read_object
from gateway.wire.sse import iter_events
from gateway.wire.written import count_written_choices


def parse_answer(content: bytes, is_event_stream: bool, is_complete: bool) -> Reading:
    """Return what an answer took, given without its content-encoding; never raises. It has no text."""
    events = list(iter_events(content)) if is_event_stream else [content]
    facts = read_events(events) if is_event_stream else read_object(content)
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
