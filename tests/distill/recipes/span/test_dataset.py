from __future__ import annotations

import json
import random
from typing import Any

from gateway.distill.recipes.span.dataset import Dataset, build_dataset
from gateway.specialists.encoders.minilm import build_tokenizer
from gateway.specialists.runtimes.tagger.grammar import OMITTED, SpanType

CITIES = ("Oslo", "Rome", "New York", "Lima", "Paris")


def learnt(pairs: list[tuple[str, Any]]) -> Dataset:
    answers = [answer if isinstance(answer, str) else json.dumps(answer) for _, answer in pairs]
    return build_dataset([text for text, _ in pairs], answers, build_tokenizer(), 256)


def trips(rows: int = 40) -> list[tuple[str, str, str]]:
    draw = random.Random(0)
    found = []
    for number in range(rows):
        start, end = draw.sample(CITIES, 2)
        found.append((f"trip {number} from {start} to {end}", start, end))
    return found


def test_values_which_stand_in_the_input_are_marked_and_others_chosen() -> None:
    lessons = learnt(
        [
            (text, {"kind": "flight" if n % 2 else "train", "to": end})
            for n, (text, _, end) in enumerate(trips())
        ]
    )
    kind, to = lessons.grammar.fields
    assert (kind.path, set(kind.choices), kind.span_types) == (("kind",), {'"flight"', '"train"'}, ())
    assert (to.path, to.choices, to.span_types, to.listing) == (("to",), (), (SpanType(),), "never")
    assert len(lessons.rows) == 40
    assert lessons.targets[0].options == [kind.choices.index('"train"')]


def test_a_key_which_is_missing_at_times_is_left_out_where_nothing_is_marked() -> None:
    lessons = learnt([(text, {"a": start} if n % 2 else {}) for n, (text, start, _) in enumerate(trips())])
    assert lessons.grammar.fields[0].choices == (OMITTED,)
    assert lessons.grammar.options == 0
    assert len(lessons.rows) == 40


def test_null_beside_spans_needs_no_decision_but_two_constants_do() -> None:
    null = learnt([(text, {"a": start if n % 2 else None}) for n, (text, start, _) in enumerate(trips())])
    both = learnt([(text, {"a": (start, None, "any")[n % 3]}) for n, (text, start, _) in enumerate(trips())])
    assert (null.grammar.options, len(null.rows)) == (0, 40)
    assert (both.grammar.options, len(both.rows)) == (3, 40)


def test_lists_keep_the_order_of_the_input() -> None:
    lessons = learnt([(text, {"cities": [start, end]}) for text, start, end in trips()])
    assert len(lessons.rows) == 40
    backwards = learnt([(text, {"cities": [end, start]}) for text, start, end in trips()])
    assert len(backwards.rows) == 0


def test_objects_in_a_list_take_one_value_each_from_the_input() -> None:
    lessons = learnt(
        [
            (text, [{"role": "start", "name": start}, {"role": "end", "name": end}])
            for text, start, end in trips()
        ]
    )
    assert len(lessons.rows) == 40
    assert lessons.grammar.tags == 5


def test_numbers_stay_numbers() -> None:
    lessons = learnt([(text, {"n": n}) for n, (text, _, _) in enumerate(trips())])
    assert lessons.grammar.fields[0].span_types == (SpanType(is_number=True),)
    assert len(lessons.rows) == 40


def test_the_longer_of_two_values_has_the_words() -> None:
    """`York` stands inside `New York`, and elsewhere: both answers are rebuilt."""
    pairs = [(f"row {n} from New York to York", {"from": "New York", "to": "York"}) for n in range(9)]
    assert len(learnt(pairs).rows) == 9


def test_what_cannot_be_rebuilt_is_left_out() -> None:
    pairs: list[tuple[str, Any]] = [(text, {"to": end}) for text, _, end in trips()]
    odd = [("to Nowhere", {"to": f"Somewhere {n}"}) for n in range(3)]
    lessons = learnt([*pairs, *odd, ("to Oslo", "no JSON"), (" ", {"to": "Oslo"})])
    assert lessons.rows == list(range(40))


def test_tool_calls_are_cut_like_json() -> None:
    lessons = learnt(
        [
            (text, f'<tool_call>\n{{"name": "book", "arguments": {{"city": "{end}"}}}}\n</tool_call>')
            for text, _, end in trips()
        ]
    )
    assert lessons.grammar.frame == "tool_call"
    assert [field.path for field in lessons.grammar.fields] == [("name",), ("arguments", "city")]
    assert len(lessons.rows) == 40


def test_labels_are_answers_without_spans() -> None:
    lessons = learnt([(text, ("up", "down")[n % 2]) for n, (text, _, _) in enumerate(trips())])
    assert (lessons.grammar.frame, lessons.grammar.tags, lessons.grammar.options) == ("text", 1, 2)
    assert len(lessons.rows) == 40


def test_nothing_teaches_nothing() -> None:
    assert learnt([]).rows == []


def test_inputs_that_are_all_too_long_teach_nothing() -> None:
    assert learnt([("word " * 600, '{"first": "word"}')]).rows == []
