"""What a task's answers look like, which decides who can learn them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gateway.confidence.agreement import canonical_text
from gateway.distill.base import AnswerKind
from gateway.distill.recipes.span.dataset import build_dataset
from gateway.harvest.base import Row
from gateway.specialists.encoders.minilm import build_tokenizer
from gateway.specialists.runtimes.tagger.runtime import MAX_TOKENS

# An answer seen fewer times is no label yet.
_LABEL_ROWS = 3
_LABELLED_SHARE = 0.6
_ROWS_PER_ANSWER = 4

_EXTRACTIVE_SHARE = 0.8
# Enough to tell, and quick: half a second for 3,000 rows.
_LOOKED_AT = 2_000


def answer_kind(rows: Sequence[Row]) -> AnswerKind:
    """Return the shape of the answers in `rows`.

    "label" when they come from a small set; "extractive" when most can be rebuilt from spans of
    their inputs and values which repeat, by the grammar that a tagger would learn.
    """
    if _are_labels(rows):
        return "label"
    latest = rows[-_LOOKED_AT:]
    lessons = build_dataset(
        [row.text for row in latest], [row.answer for row in latest], build_tokenizer(), MAX_TOKENS
    )
    is_cut = lessons.grammar.frame != "text"
    return "extractive" if is_cut and len(lessons.rows) >= _EXTRACTIVE_SHARE * len(latest) else "other"


def _are_labels(rows: Sequence[Row]) -> bool:
    counts = Counter(canonical_text(row.answer) for row in rows)
    labelled = sum(count for count in counts.values() if count >= _LABEL_ROWS)
    return labelled >= _LABELLED_SHARE * len(rows) and len(counts) * _ROWS_PER_ANSWER <= len(rows)
