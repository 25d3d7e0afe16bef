"""Names of exported spans, metrics and attributes: OpenTelemetry's, and ours where it has none.

OpenTelemetry's names for generative AI are all in "development" and still change: only this file
holds them. Source: semantic conventions 1.41, with those that the GenAI repository kept.
"""

from __future__ import annotations

from typing import Final

Attributes = dict[str, str | bool | int | float | tuple[str, ...]]

SCOPE: Final = "stepdown"
"""The instrumentation scope of every span and metric."""

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_STREAM: Final = "gen_ai.request.stream"
REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
REQUEST_SEED: Final = "gen_ai.request.seed"
REQUEST_STOP: Final = "gen_ai.request.stop_sequences"
OUTPUT_TYPE: Final = "gen_ai.output.type"
RESPONSE_MODEL: Final = "gen_ai.response.model"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
"""Seconds."""
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHED_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - a name
SERVER_ADDRESS: Final = "server.address"
"""The teacher's host, following the GenAI conventions; absent if a specialist answered."""
SERVER_PORT: Final = "server.port"
HTTP_METHOD: Final = "http.request.method"
HTTP_STATUS: Final = "http.response.status_code"
URL_PATH: Final = "url.path"
ERROR_TYPE: Final = "error.type"

DECISION: Final = "stepdown.decision"
REASON: Final = "stepdown.reason"
ROUTE: Final = "stepdown.route"
MATCH: Final = "stepdown.match"
POLICY: Final = "stepdown.policy"
VERSION: Final = "stepdown.version"
SCORE: Final = "stepdown.score"
"""The draft's score, the same as in `x-stepdown-score`."""
THRESHOLD: Final = "stepdown.threshold"
WOULD_SERVE: Final = "stepdown.would_serve"
COST: Final = "stepdown.cost.usd"
SAVED: Final = "stepdown.saved.usd"
TENANT: Final = "stepdown.tenant"
PRICED_MODEL: Final = "stepdown.priced_model"
BUDGET: Final = "stepdown.budget"
BUDGET_PERIOD: Final = "stepdown.budget.period"
HELD_OUT: Final = "stepdown.held_out"

OPERATIONS: Final = {"chat": "chat", "responses": "chat", "embeddings": "embeddings", "other": "passthrough"}
"""Surface of a request -> OPERATION."""

METRICS: Final = {
    "stepdown_latency_seconds": ("gen_ai.server.request.duration", "s"),
    "stepdown_first_byte_seconds": ("stepdown.first_byte", "s"),
    "stepdown_requests": ("stepdown.requests", "{request}"),
    "stepdown_tokens": ("stepdown.tokens", "{token}"),
    "stepdown_spent_usd": ("stepdown.spent", "{USD}"),
    "stepdown_cost_usd": ("stepdown.cost", "{USD}"),
    "stepdown_counterfactual_usd": ("stepdown.counterfactual", "{USD}"),
    "stepdown_budget_left_usd": ("stepdown.budget_left", "{USD}"),
    "stepdown_budget_limit_usd": ("stepdown.budget_limit", "{USD}"),
    "stepdown_saved_usd": ("stepdown.saved", "{USD}"),
}
"""Prometheus family -> name and unit in OTLP; in others a dot replaces the first underscore."""

LABELS: Final = {
    "decision": DECISION,
    "reason": REASON,
    "route": ROUTE,
    "tenant": TENANT,
    "model": PRICED_MODEL,
    "budget": BUDGET,
    "period": BUDGET_PERIOD,
    "stratum": "stepdown.stratum",
    "target": "stepdown.target",
    "stage": "stepdown.stage",
    "status": HTTP_STATUS,
    "streamed": REQUEST_STREAM,
    "kind": TOKEN_TYPE,
}
"""Prometheus label -> attribute."""

TOKEN_TYPES: Final = {"prompt": "input", "completion": "output"}
"""Value of the label `kind` -> value of TOKEN_TYPE."""
