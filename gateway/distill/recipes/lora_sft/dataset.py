"""Training rows as tokens, in batches of similar length."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import msgspec

from gateway.distill.base import TrainingSet
from gateway.distill.saved_students import row_digest
from gateway.errors import SpecialistError
from gateway.specialists.engine.prompt import Prompter

_SORTED_TOGETHER = 16
"""Batches cut from one run of rows in the order of length: little padding, still well mixed."""


class TokenizedRow(msgspec.Struct, frozen=True):
    """Token ids of a prompt and of its answer, the end of the turn included."""

    prompt: list[int]
    answer: list[int]
    digest: str = ""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


def digest_rows(rows: TrainingSet) -> list[str]:
    """Return the digest of each row, its answer included: a new answer makes it a new row."""
    return [row_digest(*pair) for pair in zip(rows.texts, rows.answers, strict=True)]


def tokenize_rows(rows: TrainingSet, prompter: Prompter, end: int, longest: int) -> list[TokenizedRow]:
    """Return the rows of at most `longest` tokens; longer ones stay with the teacher."""
    tokenized = []
    for text, answer, digest in zip(rows.texts, rows.answers, digest_rows(rows), strict=True):
        try:
            row = TokenizedRow(prompter.encode_prompt(text), [*prompter.encode_plain(answer), end], digest)
        except SpecialistError:
            continue
        if len(row) <= longest:
            tokenized.append(row)
    return tokenized


def cut_batches(rows: Sequence[TokenizedRow], size: int, draw: random.Random) -> Iterator[list[TokenizedRow]]:
    """Yield every row once, `size` at a time, those of similar length together, in random order."""
    order = list(rows)
    draw.shuffle(order)
    run = size * _SORTED_TOGETHER
    runs = [sorted(order[start : start + run], key=len) for start in range(0, len(order), run)]
    batches = [rows[start : start + size] for rows in runs for start in range(0, len(rows), size)]
    draw.shuffle(batches)
    yield from batches


def split_by_tokens(rows: Sequence[TokenizedRow], most_tokens: int) -> Iterator[list[TokenizedRow]]:
    """Yield every row once, as many together as have at most `most_tokens`, padding included.

    A longer row comes alone.
    """
    part: list[TokenizedRow] = []
    for row in sorted(rows, key=len):
        if part and (len(part) + 1) * len(row) > most_tokens:
            yield part
            part = []
        part.append(row)
    if part:
        yield part
