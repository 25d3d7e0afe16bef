"""What a tagger is taught: for each input the tag of each word and the option of each field."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from tokenizers import Tokenizer

from gateway.confidence.agreement import canonical_text
from gateway.distill.recipes.span.answers import frame_of, parsed
from gateway.distill.recipes.span.induction import Example, choice_of, hole_of, induced, pieces
from gateway.errors import SpecialistError
from gateway.specialists.runtimes.tagger.grammar import OMITTED, Field, Grammar, spans_of
from gateway.specialists.runtimes.tagger.words import Words, words_of


class Target(msgspec.Struct, frozen=True):
    """One lesson: token ids, and for each word its first token and its tag; then the options."""

    ids: list[int]
    heads: list[int]
    tags: list[int]
    options: list[int]


class _Wanted(msgspec.Struct, frozen=True):
    """What one field takes from an input: (mark, characters) in order; everywhere, or once each."""

    values: list[tuple[int, str]]
    everywhere: bool


class Dataset(msgspec.Struct, frozen=True):
    """A task's grammar and the lessons which it can express: the row number and target of each."""

    grammar: Grammar
    rows: list[int]
    targets: list[Target]


def build_dataset(
    texts: Sequence[str], answers: Sequence[str], tokenizer: Tokenizer, max_tokens: int
) -> Dataset:
    """Return what can be taught of `answers`; a row is left out unless its answer is rebuilt exactly."""
    frame = frame_of(answers)
    numbers, examples = [], []
    for number, (text, answer) in enumerate(zip(texts, answers, strict=True)):
        value = parsed(answer, frame)
        words = _words(text, tokenizer, max_tokens)
        if value is not None and words is not None:
            numbers.append(number)
            examples.append(Example(text, words, value))
    grammar = induced(examples, frame, [answers[number] for number in numbers])
    result = Dataset(grammar, [], [])
    holes = [_hole(field, examples) for field in grammar.fields]
    for number, example in zip(numbers, examples, strict=True):
        target = _target(grammar, holes, example)
        if target and _rebuilds(grammar, example, target, answers[number]):
            result.rows.append(number)
            result.targets.append(target)
    return result


def _words(text: str, tokenizer: Tokenizer, max_tokens: int) -> Words | None:
    try:
        return words_of(text, tokenizer, max_tokens)
    except SpecialistError:
        return None


def _hole(field: Field, examples: Sequence[Example]) -> str | None:
    leaves = [example.answer.leaves for example in examples]
    pairs = zip(leaves, examples, strict=True)
    return hole_of([(held[field.path], example) for held, example in pairs if field.path in held])


def _target(grammar: Grammar, holes: Sequence[str | None], example: Example) -> Target | None:
    """Return the target of `example`, None when a value is neither a choice nor in the input."""
    wanted: list[_Wanted] = []
    options = []
    first = 0
    for field, hole in zip(grammar.fields, holes, strict=True):
        is_there = field.path in example.answer.leaves
        value = example.answer.leaves.get(field.path)
        choice = choice_of(value) if is_there else OMITTED
        if choice in field.choices:
            option = field.choices.index(choice)
        else:
            found = pieces(value, hole, example) if is_there else []
            if not found or any(piece.mark not in field.marks for piece in found):
                return None
            option = len(field.choices)
            marked = [(first + field.marks.index(piece.mark), piece.text) for piece in found]
            wanted.append(_Wanted(marked, field.is_distinct and field.listing != "never"))
        if field.options:
            options.append(option)
        first += len(field.marks)
    return Target(example.words.ids, example.words.heads, _tags(example, wanted), options)


def _tags(example: Example, wanted: Sequence[_Wanted]) -> list[int]:
    """Return the tag of each word; where two fields could claim a word the longer value has it.

    The values of a list stand in the input in the list's order, each after the one before.
    """
    tags = [0] * len(example.words.heads)
    for want in sorted(wanted, key=lambda want: -max(len(text) for _, text in want.values)):
        values = sorted(want.values, key=lambda value: -len(value[1])) if want.everywhere else want.values
        reached = 0
        for mark, text in values:
            for first, last in example.words.occurrences(example.text, text):
                if first < reached or any(tags[first : last + 1]):
                    continue
                tags[first : last + 1] = [1 + 2 * mark] + [2 + 2 * mark] * (last - first)
                if not want.everywhere:
                    reached = last + 1
                    break
    return tags


def _rebuilds(grammar: Grammar, example: Example, target: Target, answer: str) -> bool:
    spans = spans_of(target.tags, example.words.starts, example.words.ends)
    try:
        return canonical_text(grammar.compose(example.text, target.options, spans)) == canonical_text(answer)
    except SpecialistError:
        return False
