"""Near copies of a template: one that contradicts it is stopped, one with another date stays local."""

from __future__ import annotations

from datetime import date, timedelta

import msgspec
import numpy as np

from gateway.confidence.judging import AUDITS_OF_A_TEMPLATE
from gateway.confidence.probation import ProbationMonitor
from gateway.core import Audit, Certificate, CopyStatus
from gateway.routing.variation import compare_templates
from loadtests.certificate.audit_log import TASK, AuditList
from loadtests.certificate.base import ALPHA, DELTA, Rate, Row, Setting, percent
from loadtests.certificate.scenarios.slack import draw_units
from loadtests.certificate.students import Answers
from loadtests.certificate.traffic import attempt

MOST_WRONG = 5
REQUESTS = 300
DAYS = 60
_COPY = "copy"
_FIRST_DAY = date(2026, 11, 1)


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


def run_dated_copies(setting: Setting) -> list[Row]:
    """Let the template name another date each day; certify on some days, then look at days to come."""
    answers = setting.students["gold_headlines"].fresh
    on_probation = sum(not compare_templates(_dated(0), _dated(day)).is_volatile for day in range(1, DAYS))
    certificates = [_certify_days(answers, chance) for chance in setting.generators("dates")]
    served = [answers.are_served(each) for each in certificates if each is not None]
    broken = Rate(sum(bool(answers.losses[each].mean() > ALPHA) for each in served), setting.draws)
    coverage = float(np.mean([each.mean() for each in served])) if served else 0.0
    return [
        Row(
            scenario="a copy with another date each day",
            bar=f"none on probation, local in all draws, <= {percent(DELTA)} violated",
            measured=f"{on_probation} of {DAYS - 1} on probation, {percent(coverage)} local on unseen dates "
            f"in {len(served)}, violated {broken}",
            holds=not on_probation and len(served) == setting.draws and broken.may_be_at_most(DELTA),
            figures={"on_probation": on_probation, "coverage": coverage, "violated": broken.share},
        )
    ]


def _dated(day: int) -> str:
    return f"You sort headlines. Today is {(_FIRST_DAY + timedelta(day)).isoformat()}. Answer with one word."


def _certify_days(answers: Answers, chance: np.random.Generator) -> Certificate | None:
    """Return the certificate for copies, earned on as many requests a day as count of one template."""
    audits = [
        msgspec.structs.replace(audit, template=f"day {number // AUDITS_OF_A_TEMPLATE}")
        for number, audit in enumerate(draw_units(answers, DAYS * AUDITS_OF_A_TEMPLATE, chance))
    ]
    return attempt(audits, "variant", audits[-1].at)


class _Book:
    """The status of the one copy."""

    def __init__(self) -> None:
        self.status: CopyStatus | None = None

    def put(self, task: str, copy: str, status: CopyStatus) -> None:
        """Keep the copy's own status."""
        if task == TASK and copy == _COPY and self.status is None:
            self.status = status
