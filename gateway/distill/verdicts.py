"""Verdicts of reviewers, applied to rows: what is corrected or excluded is learnt so from then on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from gateway.confidence.agreement import canonical_text
from gateway.core import hash_text
from gateway.distill.training_progress import TrainingProgress
from gateway.harvest.base import Row
from gateway.registry.models import Registry
from gateway.store.reviews import ReviewStore, Verdict, VerdictKind
from gateway.wire.private_data import redact


class ReviewedLessons:
    """What the learner must know of reviews; a review is settled once no verdict came for `pause_s`."""

    def __init__(
        self, reviews: ReviewStore, registry: Registry, clock: Callable[[], float], pause_s: float
    ) -> None:
        self._reviews = reviews
        self._registry = registry
        self._clock = clock
        self._pause_s = pause_s

    def count(self, task: str) -> int:
        """Return how often verdicts have changed what may be learnt: it only grows."""
        return self._reviews.changes(task).count

    def count_settled(self, task: str) -> int:
        """Return the same; 0 while a review goes on."""
        changes = self._reviews.changes(task)
        return changes.count if self._clock() - changes.at >= self._pause_s else 0

    def overrules(self, task: str, last: TrainingProgress) -> bool:
        """Whether a review has changed what the last version of `task` learnt."""
        return last.training > 0 and self.count_settled(task) > last.verdicts

    def corrects(self, task: str, version: int, drafting: int | None) -> bool:
        """Whether `version` has learnt verdicts that the version that drafts has not."""
        if drafting is None or drafting not in self._registry.versions(task):
            return False
        ours, theirs = (self._registry.read(task, one).metrics for one in (version, drafting))
        return ours.get("verdicts", 0.0) > theirs.get("verdicts", 0.0)

    def apply(self, task: str, rows: Sequence[Row]) -> list[Row]:
        """Return `rows` as reviewers left them."""
        return apply_verdicts(rows, self._reviews.verdicts(task))


def verdict_on(row: Row, answer: str | None, at: float = 0.0) -> Verdict:
    """Return the verdict that `answer` is the right one to `row`; None: nothing may be learnt from it.

    So it is of an answer that holds what the row's policy replaces: neither the data nor the word in its
    place may be served to others.
    """
    kind: VerdictKind = "exclude"
    if answer is not None:
        answer = redact(answer, row.private_kinds)  # type: ignore[arg-type]
        is_replaced = any(f"[{each}]" in answer for each in row.private_kinds)
        if canonical_text(answer) == canonical_text(_given(row)):
            # A teacher's answer was no lesson then, and is none now; a local one would become one.
            kind = "exclude" if row.is_local and is_replaced else "accept"
        elif not is_replaced:
            kind = "correct"
    text, given = key_of(row)
    return Verdict(
        request_id=row.request_id,
        task=row.task,
        kind=kind,
        text_hash=text,
        answer_hash=given,
        answer=answer or "" if kind == "correct" else "",
        is_held_out=row.is_held_out,
        at=at,
    )


def apply_verdicts(rows: Iterable[Row], verdicts: Sequence[Verdict]) -> list[Row]:
    """Return the lessons of `rows` as reviewers left them, and with them the local answers that they judged.

    A local answer without a verdict is left out.

    Evidence is returned as it is: a certificate speaks of the teacher, whatever a reviewer thinks of an
    answer, and a row that could be excluded could be chosen.
    """
    latest = {(verdict.text_hash, verdict.answer_hash): verdict for verdict in verdicts}
    if not latest:
        return [row for row in rows if not row.is_local]
    kept = (row if row.is_held_out else _apply(row, latest.get(key_of(row))) for row in rows)
    return [row for row in kept if row is not None]


def key_of(row: Row) -> tuple[str, str]:
    """Return the hashes by which a verdict on one row speaks of others: of its text, of its answer."""
    return f"{hash_text(row.text):016x}", f"{hash_text(canonical_text(_given(row))):016x}"


def _given(row: Row) -> str:
    """Return the answer that the client got: a specialist repeats a mistake that its teacher made."""
    return row.draft if row.is_local else row.answer


def _apply(row: Row, verdict: Verdict | None) -> Row | None:
    if verdict is None:
        return None if row.is_local else row
    if verdict.kind == "exclude":
        return None
    if row.is_local:
        answer = verdict.answer if verdict.kind == "correct" else row.draft
        return msgspec.structs.replace(row, answer=answer, ending="whole", is_lesson=True)
    if verdict.kind == "accept":
        return row
    # The tokens and the messages were those of the wrong answer.
    return msgspec.structs.replace(row, answer=verdict.answer, reply=b"", completion_tokens=0)
