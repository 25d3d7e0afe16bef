"""The one decision which requests are private: it holds when serving, auditing and harvesting."""

from __future__ import annotations

from gateway.core import Plan, Request
from gateway.wire.private_data import find_kind

LONGEST_CHARS = 8_192
"""Of a text that is looked through, in milliseconds on the event loop; no specialist reads longer ones."""


def private_reason(request: Request, plan: Plan) -> str:
    """Return why only the teacher may see what a specialist would be asked; empty if a specialist may.

    Such a request gets no route: it is no audit, and what is kept of it, redacted, is for exports alone.
    """
    if len(request.text) > LONGEST_CHARS:
        return "too long to be looked through"
    kind = find_kind(request.text, plan.private_kinds)
    return f"private data: {kind}" if kind else ""
