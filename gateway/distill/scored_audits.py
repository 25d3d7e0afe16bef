"""The evidence as one version answers it."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence

import msgspec

from gateway.confidence.agreement import measure_loss
from gateway.confidence.deferral import Scorer
from gateway.confidence.judging import ScoredAudit
from gateway.confidence.validity import invalid_reason
from gateway.core import EXACT, STRATA, Demands, Draft, RiskTarget, Stratum, hash_text
from gateway.distill.evaluation import draft_answers
from gateway.distill.prospects import Candidate
from gateway.distill.renewal import most_evidence
from gateway.harvest.base import Row
from gateway.specialists.learnt import LearntTexts

ScoredAudits = Mapping[Stratum, list[ScoredAudit]]
"""The evidence of each stratum as one version answers it, oldest first; every stratum has an entry."""

_demands = msgspec.msgpack.Decoder(Demands)


def score_audits(candidate: Candidate, rows: Sequence[Row], targets: Sequence[RiskTarget]) -> ScoredAudits:
    """Return the newest of the held-out `rows` (oldest first) by stratum, drafted, scored and compared.

    Dear: a decoder drafts ten per second.
    """
    most = max((most_evidence(target) for target in targets), default=0)
    by_stratum = {stratum: deque[Row](maxlen=most) for stratum in STRATA}
    for row in rows:
        by_stratum[_stratum_of(row, candidate.learnt)].append(row)
    agreements = {target.agreement for target in targets} - {EXACT}
    return {stratum: _score(candidate, newest, agreements) for stratum, newest in by_stratum.items()}


def _score(candidate: Candidate, rows: Sequence[Row], agreements: Collection[str]) -> list[ScoredAudit]:
    requests = [(row, _demands.decode(row.demands) if row.demands else Demands()) for row in rows]
    drafts = draft_answers(candidate.runtime, [(row.text, demands) for row, demands in requests])
    scorer = Scorer()
    scores = [scorer.score_draft(draft, candidate.deferral) if draft else 0.0 for draft in drafts]
    return [
        _scored(row, demands, draft, score, agreements)
        for (row, demands), draft, score in zip(requests, drafts, scores, strict=True)
    ]


def _scored(
    row: Row, demands: Demands, draft: Draft | None, score: float, agreements: Collection[str]
) -> ScoredAudit:
    return ScoredAudit(
        request_id=row.request_id,
        at=row.at,
        text_hash=hash_text(row.text),
        caller=row.caller,
        is_vouched_for=row.is_vouched_for,
        propensity=row.propensity,
        form=row.form,
        template=row.template,
        similarity=draft.similarity if draft else None,
        score=score,
        loss=_measure_loss(row, draft),
        graded={agreement: _measure_loss(row, draft, agreement) for agreement in agreements},
        is_servable=draft is not None and not invalid_reason(draft, demands),
    )


def _measure_loss(row: Row, draft: Draft | None, agreement: str = EXACT) -> float:
    return measure_loss(row.answer, draft.text, row.ending, agreement) if draft else 1.0


def _stratum_of(row: Row, learnt: LearntTexts) -> Stratum:
    if row.match == "embedding":
        return "variant"
    return "learnt" if row.text in learnt else "new"
