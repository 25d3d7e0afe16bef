"""One span for each sampled Outcome, made when the answer is complete."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from gateway.core import Outcome, Reading, Request
from gateway.telemetry import semconv
from gateway.telemetry.semconv import Attributes
from gateway.telemetry.trace_context import TraceContext, Tracing

# Longer conversations are exported without content: some thousand spans may wait for a dead receiver.
MOST_CONTENT_BYTES = 64 << 10

_NANOSECONDS = 1_000_000_000
_FAILED = Status(StatusCode.ERROR)
_FINE = Status(StatusCode.UNSET)


class SpanObserver:
    """An observer that passes a span of each sampled Outcome to `put`.

    `provider` names the API of the teacher at `base_url`.
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
        self._teacher_attributes = _teacher_attributes(provider, base_url)
        self._specialist_attributes: Attributes = {semconv.PROVIDER: semconv.SCOPE}

    def __call__(self, outcome: Outcome, reading: Reading) -> None:
        """Put the span of `outcome`, if its trace is sampled."""
        context = self._tracing.context_of(outcome.request)
        if not context.is_sampled:
            return
        ended_at = int(outcome.at * _NANOSECONDS)
        # A span of the SDK's own tracer costs three times as much, and here everything is known already.
        span = ReadableSpan(
            name=_span_name(outcome.request),
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
        # False and unknown values are absent: the exporter takes 2.5 us for each attribute.
        is_local = outcome.decision == "local"
        attributes = (
            (self._specialist_attributes if is_local else self._teacher_attributes)
            | _request_attributes(outcome)
            | _answer_attributes(outcome, reading)
            | _decision_attributes(outcome)
        )
        if self._captures_content and _may_keep_content(outcome):
            attributes |= _content_attributes(outcome, reading)
        return attributes


def _span_name(request: Request) -> str:
    if request.surface != "other":
        return f"{semconv.OPERATIONS[request.surface]} {request.model}"
    endpoint = request.resource.endpoint
    # Never the path itself: it holds the ids of objects.
    return f"{request.resource.method} {endpoint.path if endpoint else 'unknown path'}"


def _span_context(context: TraceContext, span_id: str, *, is_remote: bool) -> SpanContext:
    state = TraceState.from_header([context.state]) if context.state else None
    return SpanContext(
        int(context.trace_id, 16), int(span_id, 16), is_remote, TraceFlags(context.flags), state
    )


def _teacher_attributes(provider: str, base_url: str) -> Attributes:
    url = urlsplit(base_url)
    attributes: Attributes = {semconv.PROVIDER: provider, semconv.SERVER_ADDRESS: url.hostname or ""}
    # The conventions leave out the default port of the scheme.
    if url.port:
        attributes[semconv.SERVER_PORT] = url.port
    return attributes


def _request_attributes(outcome: Outcome) -> Attributes:
    request = outcome.request
    attributes: Attributes = {
        semconv.OPERATION: semconv.OPERATIONS[request.surface],
        semconv.REQUEST_MODEL: request.model,
        semconv.HTTP_METHOD: request.resource.method,
        semconv.URL_PATH: request.target.partition(b"?")[0].decode("latin-1"),
    }
    if request.is_streamed:
        attributes[semconv.REQUEST_STREAM] = True
    if request.wants_json:
        attributes[semconv.OUTPUT_TYPE] = "json"
    if request.max_tokens is not None:
        attributes[semconv.REQUEST_MAX_TOKENS] = request.max_tokens
    if request.seed is not None:
        attributes[semconv.REQUEST_SEED] = request.seed
    if request.stop:
        attributes[semconv.REQUEST_STOP] = request.stop
    return attributes


def _answer_attributes(outcome: Outcome, reading: Reading) -> Attributes:
    attributes: Attributes = {semconv.HTTP_STATUS: outcome.status}
    if outcome.status >= 400:
        attributes[semconv.ERROR_TYPE] = str(outcome.status)
    elif not outcome.is_complete:
        attributes[semconv.ERROR_TYPE] = "incomplete"
    if outcome.first_byte_ms:
        attributes[semconv.FIRST_CHUNK] = outcome.first_byte_ms / 1000
    if reading.model:
        attributes[semconv.RESPONSE_MODEL] = reading.model
    if reading.finish_reason:
        attributes[semconv.FINISH_REASONS] = (reading.finish_reason,)
    if usage := reading.usage:
        attributes[semconv.INPUT_TOKENS] = usage.prompt_tokens
        attributes[semconv.OUTPUT_TOKENS] = usage.completion_tokens
        if usage.cached_tokens:
            attributes[semconv.CACHED_TOKENS] = usage.cached_tokens
    return attributes | _cost_attributes(outcome, reading)


def _cost_attributes(outcome: Outcome, reading: Reading) -> Attributes:
    attributes: Attributes = {}
    if outcome.request.tenant:
        attributes[semconv.TENANT] = outcome.request.tenant
    if (cost := reading.cost) is not None and cost.is_billed:
        attributes[semconv.COST] = cost.usd
        attributes[semconv.PRICED_MODEL] = cost.model
        if saved := cost.counterfactual_usd - cost.usd:
            attributes[semconv.SAVED] = saved
    return attributes


def _decision_attributes(outcome: Outcome) -> Attributes:
    attributes: Attributes = {
        semconv.DECISION: outcome.decision,
        semconv.REASON: outcome.reason,
        semconv.POLICY: outcome.plan.policy,
    }
    if outcome.is_held_out:
        attributes[semconv.HELD_OUT] = True
    if outcome.route:
        attributes[semconv.ROUTE] = outcome.route.task
        attributes[semconv.MATCH] = outcome.route.match
    if outcome.draft:
        attributes[semconv.VERSION] = outcome.draft.version
        attributes[semconv.SCORE] = outcome.draft.score
        attributes[semconv.WOULD_SERVE] = outcome.would_serve
    if outcome.threshold is not None:
        attributes[semconv.THRESHOLD] = outcome.threshold
    return attributes


def _may_keep_content(outcome: Outcome) -> bool:
    """Whether spans may hold what was said: they go elsewhere, where nothing is redacted any more."""
    plan = outcome.plan
    return outcome.request.may_harvest and plan.may_harvest and not plan.private_kinds


def _content_attributes(outcome: Outcome, reading: Reading) -> Attributes:
    """Return the conversation and its answer in the form that the conventions prescribe."""
    if len(outcome.request.content) + len(outcome.answer) > MOST_CONTENT_BYTES:
        return {}
    conversation = [
        {"role": message.role, "parts": [{"type": "text", "content": message.text}]}
        for message in outcome.request.messages
    ]
    attributes: Attributes = {semconv.INPUT_MESSAGES: _json(conversation)}
    if reading.text is not None:
        answer = {
            "role": "assistant",
            "parts": [{"type": "text", "content": reading.text}],
            "finish_reason": reading.finish_reason or "error",
        }
        attributes[semconv.OUTPUT_MESSAGES] = _json([answer])
    return attributes


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
