"""From a held-out request which both answered to one audit."""

from __future__ import annotations

from gateway.confidence.agreement import measure_loss
from gateway.confidence.base import AuditSink
from gateway.core import Audit, Outcome, Reading


class Auditor:
    """An observer of outcomes which records how the drafts of held-out requests fared."""

    def __init__(self, log: AuditSink) -> None:
        self._log = log

    def __call__(self, outcome: Outcome, reading: Reading) -> None:
        """Record an audit if `outcome` is one; never blocks."""
        draft, route = outcome.draft, outcome.route
        if draft is None or route is None or reading.text is None or not _is_comparable(outcome, reading):
            return
        self._log.put(
            Audit(
                at=outcome.at,
                task=route.task,
                lane=route.lane,
                version=draft.version,
                epoch=outcome.epoch,
                loss=measure_loss(reading.text, draft.text),
                score=draft.score,
                # In shadow a draft passes only a tentative threshold, which no certificate
                # covers: the alarm must not hear of it.
                accepted=outcome.would_serve and outcome.decision == "audit",
            )
        )


def _is_comparable(outcome: Outcome, reading: Reading) -> bool:
    """Whether the teacher finished its answer by itself, so that equality means something."""
    is_whole = outcome.is_complete and reading.is_complete
    return outcome.is_held_out and is_whole and reading.finish_reason in ("stop", "tool_calls")
