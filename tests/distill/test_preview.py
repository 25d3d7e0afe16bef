"""Other risk targets, tried on stored audits: what the judge would certify, and nothing kept of it."""

from __future__ import annotations

import msgspec

from gateway.core import Certification, RiskTarget
from gateway.distill.base import Config
from gateway.distill.judge import Judge
from gateway.distill.preview import Preview, preview_targets
from gateway.harvest.base import Row
from tests.distill.test_judge import NOW, candidate, evidence


def preview(rows: list[Row], learnt: list[str] | None = None) -> dict[float, Preview]:
    targets = [RiskTarget(alpha) for alpha in (0.01, 0.05)]
    judge, version = Judge(Config(), clock=lambda: NOW), candidate(learnt=learnt or [])
    empty = Certification(task="task-1")
    return {
        each.target.alpha: each for each in preview_targets(version, empty, judge, rows, targets, now=NOW)
    }


def test_a_looser_alpha_passes_where_a_stricter_one_does_not() -> None:
    wrong = [msgspec.structs.replace(row, answer="no") for row in evidence(6)]

    by_alpha = preview(wrong + evidence(400)[6:])

    assert (by_alpha[0.01].share, by_alpha[0.01].accepted) == (0.0, 0)
    assert (by_alpha[0.05].share, by_alpha[0.05].accepted, by_alpha[0.05].losses) == (1.0, 400, 6.0)


def test_the_share_is_that_of_all_requests_not_of_one_stratum() -> None:
    """Learnt texts prove nothing of new ones, which are too few here."""
    learnt = [f"fingerprint {n}" for n in range(180)]

    by_alpha = preview(evidence(200), learnt)

    assert by_alpha[0.05].share == 0.9


def test_without_audits_nothing_is_promised() -> None:
    assert preview([])[0.05] == Preview(target=RiskTarget(0.05), share=0.0, audits=0, accepted=0, losses=0.0)
