"""The gate between a draft and the client."""

from __future__ import annotations

from gateway.confidence.validity import invalid_reason
from gateway.core import Draft, Request, Standing, Verdict


class Gate:
    """Lets a draft pass only under its own version's certificate."""

    def judge_draft(self, draft: Draft, standing: Standing, request: Request) -> Verdict:
        """Return whether `draft` may be served, with a short countable reason. Never raises.

        Validity comes first, even if the client wants a local answer of any confidence.
        """
        if reason := invalid_reason(draft, request):
            return Verdict(False, reason, standing.threshold)
        if request.mode == "local":
            return Verdict(True, "local asked for", standing.threshold)
        if not standing.serves or standing.threshold is None:
            return Verdict(False, "not certified yet", standing.threshold)
        if draft.version != standing.version:
            return Verdict(False, "draft of another version", standing.threshold)
        if draft.score >= standing.threshold:
            return Verdict(True, "certified", standing.threshold)
        return Verdict(False, "unsure", standing.threshold)
