"""A near copy of a template that contradicts it: how many wrong answers it serves before it is stopped."""

from __future__ import annotations

import numpy as np

from gateway.confidence.probation import ProbationMonitor
from gateway.core import Audit, CopyStatus
from loadtests.certificate.audit_log import TASK, AuditList
from loadtests.certificate.base import Row, Setting

MOST_WRONG = 5
REQUESTS = 300
_COPY = "copy"


def run_contradicting_copy(setting: Setting) -> list[Row]:
    """Let a near copy with other answers throughout join a live task."""
    scenario, bar = "a contradicting near copy joins", f"<= {MOST_WRONG} wrong answers served"
    counts = [count_wrong_answers(chance) for chance in setting.generators("copies")]
    most = max(counts)
    return [
        Row(
            scenario=scenario,
            bar=bar,
            measured=f"at most {most}, median {float(np.median(counts)):.0f}",
            holds=most <= MOST_WRONG,
            figures={"most": most},
        )
    ]


def count_wrong_answers(chance: np.random.Generator) -> int:
    """Return the wrong answers that a contradicting copy serves before it is a task of its own.

    Each request on probation is held out, so a wrong answer is served only after the copy is taken
    for the task itself. The share of requests that the draft answers is drawn per run.
    """
    log, book = AuditList(), _Book()
    monitor = ProbationMonitor(book, log)
    coverage = chance.uniform(0.2, 0.9)
    wrong = 0
    for number, passes in enumerate((chance.random(REQUESTS) < coverage).tolist()):
        if book.status == "separate":
            break
        if book.status == "known":
            wrong += passes
            continue
        log.put(
            Audit(
                task=TASK,
                request_id=str(number),
                at=float(number),
                stratum="variant",
                template=_COPY,
                place="0 other",
                version=1,
                score=0.9,
                loss=1.0,
                is_on_probation=True,
                passes_as_new=passes,
            )
        )
        monitor.refresh()
    return wrong


class _Book:
    """The status of the one copy."""

    def __init__(self) -> None:
        self.status: CopyStatus | None = None

    def put(self, task: str, copy: str, status: CopyStatus) -> None:
        """Keep the copy's own status."""
        if task == TASK and copy == _COPY and self.status is None:
            self.status = status
