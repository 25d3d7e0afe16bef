"""Whether a task's answers are labels: a small set of strings that repeat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gateway.confidence.agreement import canonical_text
from gateway.distill.base import TrainingSet

# An answer seen fewer times is not a label yet.
_ROWS_PER_LABEL = 3
_LABELED_SHARE = 0.6
_ROWS_PER_ANSWER = 4


def are_labels(answers: Sequence[str]) -> bool:
    """Return whether most of `answers` repeat, and few are distinct."""
    counts = Counter(canonical_text(answer) for answer in answers)
    labeled = sum(count for count in counts.values() if count >= _ROWS_PER_LABEL)
    return labeled >= _LABELED_SHARE * len(answers) and len(counts) * _ROWS_PER_ANSWER <= len(answers)


def most_tokens(lessons: TrainingSet, answers: Sequence[str]) -> tuple[int, ...]:
    """Return the most tokens that the teacher took for each of the canonical `answers`, 0 if unknown."""
    most: Counter[str] = Counter()
    tokens_of = lessons.completion_tokens or [0] * len(lessons.answers)
    for answer, tokens in zip(lessons.answers, tokens_of, strict=True):
        form = canonical_text(answer)
        most[form] = max(most[form], tokens)
    return tuple(most[answer] for answer in answers)
