"""A specialist's drafts for many inputs, made by the very code that serves."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from gateway.confidence.agreement import measure_loss
from gateway.confidence.deferral import Scorer
from gateway.core import EXACT, Deferral, Demands, Draft, DraftRequest
from gateway.distill.base import EvalResult, TrainingSet
from gateway.errors import SpecialistError
from gateway.specialists.base import NullListener, Runtime

# As many as a generative engine batches.
_AT_ONCE = 16


def draft_answers(runtime: Runtime, requests: Sequence[tuple[str, Demands]]) -> list[Draft | None]:
    """Return the draft for each text and the demands it came with, None where the runtime refuses.

    What the client demanded is asked for as in service: a guided draft may be another one. Many
    are asked for at once if the runtime is remote.
    """

    def draft_one(text: str, demands: Demands) -> Draft | None:
        request = DraftRequest(
            text=text,
            max_tokens=demands.max_tokens,
            stop=demands.stop,
            response_format=demands.response_format,
            tools=demands.tools,
            top_logprobs=demands.top_logprobs,
        )
        try:
            said = runtime.draft(request, NullListener())
        except SpecialistError:
            return None
        return Draft(
            text=said.text,
            score=said.score,
            task="",
            version=0,
            prompt_tokens=said.prompt_tokens,
            completion_tokens=said.completion_tokens,
            teacher_tokens=said.teacher_tokens,
            evidence=said.evidence,
            trace=said.trace,
            tokens=said.tokens,
            finish_reason=said.finish_reason,
        )

    if not runtime.is_remote:
        return [draft_one(text, demands) for text, demands in requests]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(draft_one, *zip(*requests, strict=True))) if requests else []


def evaluate(
    runtime: Runtime,
    exam: TrainingSet,
    scorer: Scorer,
    deferral: Deferral | None = None,
    agreements: Sequence[str] = (),
) -> EvalResult:
    """Return how `runtime` does on `exam`, also by `agreements`.

    What it refuses, or cuts at its length limit, is escalated when it serves, so it has no draft
    and scores 0: below every threshold.
    """
    drafts = [
        draft if draft and _may_be_served(draft) else None
        for draft in draft_answers(runtime, [(text, Demands()) for text in exam.texts])
    ]
    scores = [scorer.score_draft(draft, deferral) if draft else 0.0 for draft in drafts]
    texts = [draft.text if draft else None for draft in drafts]
    graded = {each: measure_losses(exam.answers, texts, each) for each in agreements}
    return EvalResult(scores, measure_losses(exam.answers, texts), drafts, graded)


def measure_losses(
    answers: Sequence[str], drafts: Sequence[str | None], agreement: str = EXACT
) -> list[float]:
    """Return the loss of each draft; 1 where there is none."""
    return [
        1.0 if draft is None else measure_loss(answer, draft, agreement=agreement)
        for answer, draft in zip(answers, drafts, strict=True)
    ]


def _may_be_served(draft: Draft) -> bool:
    """Whether a client could get `draft`: a cut one only where its beginning was decided on.

    Then the trace ends before the answer, which a stream would have carried to its cut.
    """
    is_cut = draft.finish_reason == "length"
    return not is_cut or (draft.trace is not None and len(draft.trace.logprobs) < draft.completion_tokens)
