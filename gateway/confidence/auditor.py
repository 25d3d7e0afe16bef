"""The observer that turns held-out requests into audits."""

from __future__ import annotations

from gateway.confidence.agreement import measure_loss
from gateway.confidence.base import AuditSink
from gateway.core import Audit, Outcome, Reading


class Auditor:
    """Compares the draft of every held-out request with the teacher's answer."""

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
                # In shadow a draft passes a tentative threshold only. No certificate covers that
                # one, so the drift alarm must not count it.
                accepted=outcome.would_serve and outcome.decision == "audit",
            )
        )


def _is_comparable(outcome: Outcome, reading: Reading) -> bool:
    """Whether the teacher ended its answer by itself, so that equality means something."""
    is_whole = outcome.is_complete and reading.is_complete
    return outcome.is_held_out and is_whole and reading.finish_reason in ("stop", "tool_calls")
