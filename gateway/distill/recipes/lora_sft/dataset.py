"""Lessons as tokens, in batches of like length."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence

import msgspec

from gateway.distill.base import TrainingSet
from gateway.errors import SpecialistError
from gateway.specialists.engine.prompt import Prompter

_SORTED_TOGETHER = 16
"""Batches cut from one run of rows in the order of length: little padding, still well mixed."""


class Example(msgspec.Struct, frozen=True):
    """Token ids of a prompt and of the answer, the end of the turn included; `mark` is its row's."""

    prompt: list[int]
    answer: list[int]
    mark: str = ""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


def mark(text: str, answer: str) -> str:
    """Return what a row is remembered by."""
    row = f"{text}\0{answer}".encode(errors="replace")
    return hashlib.blake2b(row, digest_size=8).hexdigest()


def marks(lessons: TrainingSet) -> list[str]:
    """Return the mark of each row."""
    return [mark(text, answer) for text, answer in zip(lessons.texts, lessons.answers, strict=True)]


def read(lessons: TrainingSet, prompter: Prompter, end: int, longest: int) -> list[Example]:
    """Return the examples of at most `longest` tokens; longer rows are the teacher's business."""
    examples = []
    for text, answer in zip(lessons.texts, lessons.answers, strict=True):
        try:
            ids = [*prompter.encode_plain(answer), end]
            example = Example(prompter.encode_prompt(text), ids, mark(text, answer))
        except SpecialistError:
            continue
        if len(example) <= longest:
            examples.append(example)
    return examples


def batches(examples: Sequence[Example], size: int, draw: random.Random) -> Iterator[list[Example]]:
    """Yield every example once, `size` at a time, rows of like length together, in random order."""
    order = list(examples)
    draw.shuffle(order)
    run = size * _SORTED_TOGETHER
    runs = [sorted(order[start : start + run], key=len) for start in range(0, len(order), run)]
    cut = [rows[start : start + size] for rows in runs for start in range(0, len(rows), size)]
    draw.shuffle(cut)
    yield from cut


def parts(rows: Sequence[Example], most_tokens: int) -> Iterator[list[Example]]:
    """Yield every row once, so many together that they and their padding have at most `most_tokens`.

    A longer row comes alone.
    """
    part: list[Example] = []
    for row in sorted(rows, key=len):
        if part and (len(part) + 1) * len(row) > most_tokens:
            yield part
            part = []
        part.append(row)
    if part:
        yield part
