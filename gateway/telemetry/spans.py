"""One span for each sampled Outcome, made after the fact."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from gateway.core import Outcome, Reading
from gateway.telemetry import semconv
from gateway.telemetry.trace_context import TraceContext, Tracing

# Longer conversations go without their content: some thousand spans may wait for a dead receiver.
MOST_CONTENT_BYTES = 64 << 10

_NANOSECONDS = 1_000_000_000
_FAILED = Status(StatusCode.ERROR)
_FINE = Status(StatusCode.UNSET)

Attributes = dict[str, str | bool | int | float | tuple[str, ...]]


class Spans:
    """An observer which hands a span of each sampled Outcome to `put`.

    `provider` is whose API the teacher at `base_url` speaks.
    """

    def __init__(
        self,
        tracing: Tracing,
        put: Callable[[ReadableSpan], object],
        resource: Resource,
        *,
        provider: str,
        base_url: str,
        captures_content: bool,
    ) -> None:
        self._tracing = tracing
        self._put = put
        self._resource = resource
        self._scope = InstrumentationScope(semconv.SCOPE)
        self._captures_content = captures_content
        self._of_teacher = _of_teacher(provider, base_url)
        self._of_specialists: Attributes = {semconv.PROVIDER: semconv.SCOPE}

    def __call__(self, outcome: Outcome, reading: Reading) -> None:
        """Put the span of `outcome`, if its trace is sampled."""
        context = self._tracing.context(outcome.request)
        if not context.is_sampled:
            return
        ended_at = int(outcome.at * _NANOSECONDS)
        # The SDK makes such spans by itself while a request is under way; that costs three times as
        # much, and everything is known here.
        span = ReadableSpan(
            name=f"{semconv.OPERATIONS[outcome.request.surface]} {outcome.request.model}",
            context=_span_context(context, context.span_id, is_remote=False),
            parent=_span_context(context, context.parent_id, is_remote=True) if context.parent_id else None,
            resource=self._resource,
            attributes=self._attributes(outcome, reading),
            kind=SpanKind.SERVER,
            status=_FAILED if outcome.status >= 500 or not outcome.is_complete else _FINE,
            start_time=ended_at - int(outcome.latency_ms * 1_000_000),
            end_time=ended_at,
            instrumentation_scope=self._scope,
        )
        self._put(span)

    def _attributes(self, outcome: Outcome, reading: Reading) -> Attributes:
        # Absent stands for false and unknown: the exporter takes 2.5 us for each attribute.
        who = self._of_specialists if outcome.decision == "local" else self._of_teacher
        found = who | _of_request(outcome) | _of_answer(outcome, reading) | _of_decision(outcome)
        if self._captures_content and outcome.request.may_harvest:
            found |= _content(outcome, reading)
        return found


def _span_context(context: TraceContext, span_id: str, *, is_remote: bool) -> SpanContext:
    state = TraceState.from_header([context.state]) if context.state else None
    return SpanContext(
        int(context.trace_id, 16), int(span_id, 16), is_remote, TraceFlags(context.flags), state
    )


def _of_teacher(provider: str, base_url: str) -> Attributes:
    url = urlsplit(base_url)
    found: Attributes = {semconv.PROVIDER: provider, semconv.SERVER_ADDRESS: url.hostname or ""}
    # As the conventions have it: the port only where it is none of HTTP's own.
    if url.port:
        found[semconv.SERVER_PORT] = url.port
    return found


def _of_request(outcome: Outcome) -> Attributes:
    request = outcome.request
    found: Attributes = {
        semconv.OPERATION: semconv.OPERATIONS[request.surface],
        semconv.REQUEST_MODEL: request.model,
        semconv.HTTP_METHOD: "POST",
        semconv.URL_PATH: request.target.partition(b"?")[0].decode("latin-1"),
    }
    if request.is_streamed:
        found[semconv.REQUEST_STREAM] = True
    if request.wants_json:
        found[semconv.OUTPUT_TYPE] = "json"
    if request.max_tokens is not None:
        found[semconv.REQUEST_MAX_TOKENS] = request.max_tokens
    if request.seed is not None:
        found[semconv.REQUEST_SEED] = request.seed
    if request.stop:
        found[semconv.REQUEST_STOP] = request.stop
    return found


def _of_answer(outcome: Outcome, reading: Reading) -> Attributes:
    found: Attributes = {semconv.HTTP_STATUS: outcome.status}
    if outcome.status >= 400:
        found[semconv.ERROR_TYPE] = str(outcome.status)
    elif not outcome.is_complete:
        found[semconv.ERROR_TYPE] = "incomplete"
    if outcome.first_byte_ms:
        found[semconv.FIRST_CHUNK] = outcome.first_byte_ms / 1000
    if reading.model:
        found[semconv.RESPONSE_MODEL] = reading.model
    if reading.finish_reason:
        found[semconv.FINISH_REASONS] = (reading.finish_reason,)
    if usage := reading.usage:
        found[semconv.INPUT_TOKENS] = usage.prompt_tokens
        found[semconv.OUTPUT_TOKENS] = usage.completion_tokens
        if usage.cached_tokens:
            found[semconv.CACHED_TOKENS] = usage.cached_tokens
    return found


def _of_decision(outcome: Outcome) -> Attributes:
    found: Attributes = {
        semconv.DECISION: outcome.decision,
        semconv.REASON: outcome.reason,
        semconv.POLICY: outcome.plan.policy,
    }
    if outcome.is_held_out:
        found[semconv.HELD_OUT] = True
    if outcome.route:
        found[semconv.ROUTE] = outcome.route.task
        found[semconv.LANE] = outcome.route.lane
    if outcome.draft:
        found[semconv.VERSION] = outcome.draft.version
        found[semconv.SCORE] = outcome.draft.score
        found[semconv.WOULD_SERVE] = outcome.would_serve
    if outcome.threshold is not None:
        found[semconv.THRESHOLD] = outcome.threshold
    return found


def _content(outcome: Outcome, reading: Reading) -> Attributes:
    """Return the words of both sides, in the form which the conventions prescribe."""
    if len(outcome.request.body) + len(outcome.answer) > MOST_CONTENT_BYTES:
        return {}
    asked = [
        {"role": message.role, "parts": [{"type": "text", "content": message.text}]}
        for message in outcome.request.messages
    ]
    found: Attributes = {semconv.INPUT_MESSAGES: _json(asked)}
    if reading.text is not None:
        said = {
            "role": "assistant",
            "parts": [{"type": "text", "content": reading.text}],
            "finish_reason": reading.finish_reason or "error",
        }
        found[semconv.OUTPUT_MESSAGES] = _json([said])
    return found


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
