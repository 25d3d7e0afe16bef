"""The training targets of a tagger: for each input the tag of each word and the option of each field."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from tokenizers import Tokenizer

from gateway.confidence.agreement import canonical_text
from gateway.distill.recipes.span.answer_parsing import find_frame, parse_answer
from gateway.distill.recipes.span.induction import (
    ParsedRow,
    encode_choice,
    find_copied,
    find_slot,
    induce_grammar,
)
from gateway.errors import SpecialistError
from gateway.specialists.runtimes.tagger.grammar import OMITTED, Field, Grammar, find_spans
from gateway.specialists.runtimes.tagger.words import Words, split_words


class Target(msgspec.Struct, frozen=True):
    """One row: token ids, and for each word its first token and its BIO tag; then the options."""

    ids: list[int]
    heads: list[int]
    tags: list[int]
    options: list[int]


class _FieldSpans(msgspec.Struct, frozen=True):
    """The spans of one field in an input: (type, characters) in order.

    With `everywhere` each of them is tagged at all its occurrences, else at one.
    """

    spans: list[tuple[int, str]]
    everywhere: bool


class Dataset(msgspec.Struct, frozen=True):
    """A task's grammar, and the rows that it can express: the index and the target of each."""

    grammar: Grammar
    rows: list[int]
    targets: list[Target]


def build_dataset(
    texts: Sequence[str], answers: Sequence[str], tokenizer: Tokenizer, max_tokens: int
) -> Dataset:
    """Return the dataset of `answers`; a row is left out unless its answer is rebuilt exactly."""
    frame = find_frame(answers)
    indices, rows = [], []
    for index, (text, answer) in enumerate(zip(texts, answers, strict=True)):
        value = parse_answer(answer, frame)
        words = _read_words(text, tokenizer, max_tokens)
        if value is not None and words is not None:
            indices.append(index)
            rows.append(ParsedRow(text, words, value))
    grammar = induce_grammar(rows, frame, [answers[index] for index in indices])
    dataset = Dataset(grammar, [], [])
    slots = [_find_field_slot(field, rows) for field in grammar.fields]
    for index, row in zip(indices, rows, strict=True):
        target = _build_target(grammar, slots, row)
        if target and _is_rebuilt(grammar, row, target, answers[index]):
            dataset.rows.append(index)
            dataset.targets.append(target)
    return dataset


def _read_words(text: str, tokenizer: Tokenizer, max_tokens: int) -> Words | None:
    try:
        return split_words(text, tokenizer, max_tokens)
    except SpecialistError:
        return None


def _find_field_slot(field: Field, rows: Sequence[ParsedRow]) -> str | None:
    held = [(row.answer.leaves[field.path], row) for row in rows if field.path in row.answer.leaves]
    return find_slot(held)


def _build_target(grammar: Grammar, slots: Sequence[str | None], row: ParsedRow) -> Target | None:
    """Return the target of `row`, None if a value is neither a choice nor in the input."""
    spans_by_field: list[_FieldSpans] = []
    options = []
    first_type = 0
    for field, slot in zip(grammar.fields, slots, strict=True):
        is_there = field.path in row.answer.leaves
        value = row.answer.leaves.get(field.path)
        choice = encode_choice(value) if is_there else OMITTED
        if choice in field.choices:
            option = field.choices.index(choice)
        else:
            found = find_copied(value, slot, row) if is_there else []
            if not found or any(copied.span_type not in field.span_types for copied in found):
                return None
            option = len(field.choices)
            spans = [(first_type + field.span_types.index(copied.span_type), copied.text) for copied in found]
            spans_by_field.append(_FieldSpans(spans, field.is_distinct and field.listing != "never"))
        if field.options:
            options.append(option)
        first_type += len(field.span_types)
    return Target(row.words.ids, row.words.first_tokens, _tag_words(row, spans_by_field), options)


def _tag_words(row: ParsedRow, spans_by_field: Sequence[_FieldSpans]) -> list[int]:
    """Return the tag of each word; a word that two fields could claim goes to the longer value.

    The values of a list stand in the input in the list's order, each after the one before.
    """
    tags = [0] * len(row.words.first_tokens)
    for field in sorted(spans_by_field, key=lambda field: -max(len(text) for _, text in field.spans)):
        spans = sorted(field.spans, key=lambda span: -len(span[1])) if field.everywhere else field.spans
        reached = 0
        for span_type, text in spans:
            for first, last in row.words.find_value(row.text, text):
                if first < reached or any(tags[first : last + 1]):
                    continue
                tags[first : last + 1] = [1 + 2 * span_type] + [2 + 2 * span_type] * (last - first)
                if not field.everywhere:
                    reached = last + 1
                    break
    return tags


def _is_rebuilt(grammar: Grammar, row: ParsedRow, target: Target, answer: str) -> bool:
    spans = find_spans(target.tags, row.words.starts, row.words.ends)
    try:
        rebuilt = grammar.compose_answer(row.text, target.options, spans)
    except SpecialistError:
        return False
    return canonical_text(rebuilt) == canonical_text(answer)
