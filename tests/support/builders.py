"""Plain requests, outcomes and readings for the tests of every room; keywords replace single fields."""

from __future__ import annotations

from typing import Any

from gateway.confidence.judging import ScoredAudit
from gateway.core import (
    STRATA,
    Certificate,
    Certification,
    IncomingRequest,
    Message,
    Outcome,
    Plan,
    Reading,
    Request,
    RiskTarget,
    Route,
    Usage,
)

NOON = 1_700_000_000.0
"""The time (Unix seconds) at which a plain outcome ends."""


_INCOMING: dict[str, Any] = {
    "id": "req-1",
    "caller": "key-1",
    "target": b"/v1/chat/completions",
    "headers": (),
    "body": b'{"model":"giant","messages":[{"role":"user","content":"where is my card?"}]}',
    "received_at": 0.0,
}


def incoming(**changes: Any) -> IncomingRequest:
    """Return a request as it comes in, before its body is read."""
    return IncomingRequest(**_INCOMING | changes)


def request(**changes: Any) -> Request:
    """Return a chat request as api reads it; its body holds what `text` says."""
    facts: dict[str, Any] = {
        "model": "giant",
        "messages": (Message("user", "where is my card?"),),
        "template": "feed",
        "contract_hash": "beef",
        "template_text": "",
        "text": "where is my card?",
    }
    return Request(**_INCOMING | facts | changes)


def outcome(for_request: Request | None = None, /, **changes: Any) -> Outcome:
    """Return the outcome of an escalation that the teacher answered well."""
    facts: dict[str, Any] = {
        "request": for_request or request(),
        "plan": Plan(policy="default", may_serve=True),
        "route": Route("cards"),
        "decision": "escalated",
        "reason": "no specialist yet",
        "status": 200,
        "at": NOON,
        "latency_ms": 800.0,
        "first_byte_ms": 700.0,
    }
    return Outcome(**facts | changes)


def reading(**changes: Any) -> Reading:
    """Return what a complete answer of one label says."""
    facts: dict[str, Any] = {
        "text": "card_arrival",
        "model": "giant",
        "finish_reason": "stop",
        "usage": Usage(1000, 100),
        "is_complete": True,
        "written_bytes": 12,
    }
    return Reading(**facts | changes)


ALL_FORMS = tuple(
    f"{turns}/{size}" for turns in ("single", "multi") for size in ("short", "medium", "long", "huge")
)


def certificate(**changes: Any) -> Certificate:
    """Return a certificate in force for new texts of every form, at alpha 2 % and delta 10 %."""
    facts: dict[str, Any] = {
        "stratum": "new",
        "target": RiskTarget(),
        "stage": "live",
        "threshold": 0.5,
        "forms": ALL_FORMS,
        "expires_at": 1e12,
    }
    return Certificate(**facts | changes)


def certified(task: str = "t", version: int | None = 1, **changes: Any) -> Certification:
    """Return a task with such a certificate in each stratum; keywords replace fields of all three."""
    certificates = tuple(certificate(**{"stratum": stratum} | changes) for stratum in STRATA)
    return Certification(task=task, version=version, certificates=certificates)


def scored_audit(number: int, **changes: Any) -> ScoredAudit:
    """Return a sure and right draft of a text of its own, asked at second `number`."""
    facts: dict[str, Any] = {
        "request_id": str(number),
        "at": float(number),
        "text_hash": number,
        "caller": "app",
        "is_vouched_for": True,
        "propensity": 0.3,
        "form": "single/short",
        "similarity": None,
        "score": 0.9,
        "loss": 0.0,
    }
    return ScoredAudit(**facts | changes)
