"""Texts and labels as JSONL, for the trainers of classifiers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from gateway.harvest.base import Row
from gateway.harvest.examples import list_replies, render_line

SUFFIX = ".jsonl"
LEFT_OUT = "whose answer is no label: a call, several lines, or more than 200 characters"

LONGEST_LABEL = 200
"""In characters; an answer that is longer, or of several lines, is no label."""


def write(rows: Iterable[Row], stream: IO[bytes], *, with_held_out: bool = False) -> int:
    """Write `{"text": ..., "label": ...}` a line for each row with an answer that could be a label.

    The text is what varies from request to request, without the template.
    """
    written = 0
    for row in rows:
        label = _label_of(row)
        if not label or not row.text or (row.is_held_out and not with_held_out):
            continue
        stream.write(render_line({"text": row.text, "label": label}))
        written += 1
    return written


def _label_of(row: Row) -> str:
    replies = list_replies(row)
    if len(replies) != 1 or replies[0].tool_calls:
        return ""
    label = (replies[0].content or "").strip()
    return "" if "\n" in label or len(label) > LONGEST_LABEL else label
