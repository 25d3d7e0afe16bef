"""The Outcome: the one record of a finished request, and the only thing that observers count."""

from __future__ import annotations

from typing import Literal

import msgspec

from gateway.core.budget import Reservation
from gateway.core.certificate import Certification
from gateway.core.cost import Cost
from gateway.core.decision import Plan, Route
from gateway.core.draft import Draft
from gateway.core.request import Request
from gateway.core.usage import Usage

Decision = Literal["local", "escalated", "audit", "bypass"]
"""local: a draft (or our encoder) was served. audit: both answered, the teacher's answer was served.
bypass: no specialist was asked. escalated: the teacher answered for any other reason."""


class Excerpt(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of an answer too long to be kept whole, without its content-encoding."""

    head: bytes
    tail: bytes
    usages: tuple[bytes, ...] = ()
    """The places that may say what it took, from the key "usage" on, wherever they stood."""
    size_bytes: int


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """The content of an answer, parsed from its bytes.

    `text` is None if the answer is not plain text: a refusal, words beside tool calls, an error.
    Tool calls alone are text, written as wire.tool_calls defines.
    """

    text: str | None
    model: str = ""
    """The model that answered, in the teacher's words."""
    finish_reason: str = ""
    usage: Usage | None = None
    is_complete: bool = False
    written_bytes: int = 0
    """UTF-8 bytes of all that the teacher wrote, whatever its shape: what is estimated from where no usage
    was reported."""
    service_tier: str = ""
    """The tier that it was processed in ("flex"); empty if the answer does not say."""
    id: str = ""
    """The answer's id, by which it can be asked for later; empty if it has none."""
    status: str = ""
    """What the answer says of itself ("in_progress"); empty if it does not."""
    output_file: str = ""
    """The file with the answers of a batch."""
    cost: Cost | None = None
    """What the request cost; None while nothing has priced it."""


Ending = Literal["whole", "cut", "refused", "none"]
"""How the teacher's answer ended: by itself, at a length limit, or as a refusal of any kind (filtered,
a refusal, words where a specialist could only call tools). none: it gave no answer to compare with, or was
not asked."""

_WHOLE = frozenset({"stop", "tool_calls"})
_FILTERED = (b"content_filter", b"content_policy_violation")


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One finished request: who answered it, why, how fast, and how likely it was to be an audit.

    `answer` holds the bytes that the client received, still encoded as `encoding` says; above
    the capture limit it is empty and `is_captured` is False. `first_byte_ms` and `latency_ms`
    count from the first byte of the request; `at`, in unix seconds, is its end.
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
    served_by: str = ""
    """The teacher that answered, where there is more than one."""
    is_event_stream: bool = False
    is_complete: bool = True
    is_captured: bool = True
    excerpt: Excerpt | None = None
    """Of an answer above the capture limit: enough to read what it took."""
    draft: Draft | None = None
    threshold: float | None = None
    """The lowest score that was served to this request's policy and stratum; None if no draft was."""
    would_serve: bool = False
    """Whether the draft passed the threshold (in shadow the tentative one), served or not."""
    audit_propensity: float = 0.0
    """The probability of this request to be an audit, fixed before the decision."""
    is_held_out: bool = False
    """Whether it is evidence for certificates: never trained on."""
    certification: Certification | None = None
    """What the task's specialist was allowed to do when the request was decided."""
    reservation: Reservation | None = None
    """What was set aside of budgets for it, to be settled by what it cost."""
    sound_tokens: int = 0
    """What was spoken of an answer, estimated from the sound that came: counts if it reports no usage."""
    is_hedged: bool = False
    """Whether the teacher was called beside the draft; its prompt is paid even if the draft was served."""


def ending_of(outcome: Outcome, reading: Reading) -> Ending:
    """Return how the teacher's answer to a request ended; "none" also where the client left early."""
    if outcome.decision not in ("escalated", "audit"):
        return "none"
    if outcome.status == 400 and any(code in outcome.answer for code in _FILTERED):
        return "refused"
    is_received = outcome.status == 200 and outcome.is_complete and outcome.is_captured
    if not (is_received and reading.is_complete):
        return "none"
    if not reading.text or reading.finish_reason == "content_filter":
        return "refused"
    if reading.finish_reason == "length":
        return "cut"
    return "whole" if reading.finish_reason in _WHOLE else "none"
