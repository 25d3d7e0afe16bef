"""The single record which leaves the flow; whoever counts anything counts these."""

from __future__ import annotations

from typing import Literal

import msgspec

from gateway.core.decision import Plan, Route
from gateway.core.draft import Draft
from gateway.core.request import Request

Decision = Literal["local", "escalated", "audit", "bypass"]


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one answer. `is_estimated` when nobody reported them."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    is_estimated: bool = False


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer's bytes say: text, finish reason, tokens.

    `text` is None when the answer is no plain text (a refusal, words beside tool calls, an
    error); tool calls are text as `wire.tool_calls` has it.
    """

    text: str | None
    model: str = ""
    finish_reason: str = ""
    usage: Usage | None = None
    is_complete: bool = False


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One request, finished: who answered it, why, how fast, at what propensity.

    `answer` holds the bytes which the client received, still encoded as `encoding` says,
    cut at the capture limit (then `is_captured` is False). `first_byte_ms` and
    `latency_ms` count from the first byte of the request.
    """

    request: Request
    plan: Plan
    route: Route | None
    decision: Decision
    reason: str
    status: int
    at: float
    latency_ms: float
    first_byte_ms: float
    answer: bytes = b""
    encoding: str = ""
    is_event_stream: bool = False
    is_complete: bool = True
    is_captured: bool = True
    draft: Draft | None = None
    threshold: float | None = None
    """The score from which drafts of this task and lane were served; None while none were."""
    would_serve: bool = False
    """The draft passed the (tentative) threshold, whether or not it was served."""
    audit_propensity: float = 0.0
    """Probability with which this request was to be audited, drawn before the decision."""
    is_held_out: bool = False
    """Evidence for certificates: never to be trained on."""
    epoch: int = 0
    is_hedged: bool = False
    """The teacher was asked beside the draft, whose prompt is paid even where the draft was served."""
