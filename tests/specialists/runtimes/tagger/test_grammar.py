from __future__ import annotations

import msgspec
import pytest

from gateway.errors import SpecialistError
from gateway.specialists.runtimes.tagger.grammar import OMITTED, Field, Grammar, Mark, Span, spans_of

TEXT = "fly from Oslo to Rome in 3 days"
OSLO, ROME, THREE = (9, 13), (17, 21), (25, 26)


def json_of(*fields: Field, **more: object) -> Grammar:
    return Grammar(frame="json", fields=fields, **more)  # type: ignore[arg-type]


def test_spans_are_cut_where_the_next_begins() -> None:
    assert spans_of([1, 2, 1, 0, 3, 4], [0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 11]) == [
        Span(0, 0, 3),
        Span(0, 4, 5),
        Span(1, 8, 11),
    ]
    assert spans_of([], [], []) == spans_of([0], [0], [1]) == []


def test_spans_and_choices_fill_the_places_of_the_answer() -> None:
    grammar = json_of(
        Field(path=("intent",), choices=('"fly"', '"stay"')),
        Field(path=("to", "city"), marks=(Mark(),)),
        Field(path=("to", "hotel"), choices=(OMITTED,), marks=(Mark(),)),
    )
    assert grammar.compose(TEXT, [0], [Span(0, *ROME)]) == '{"intent":"fly","to":{"city":"Rome"}}'
    assert grammar.compose(TEXT, [1], []) == '{"intent":"stay"}'


@pytest.mark.parametrize(
    ("listing", "one", "two"),
    [
        ("never", '"Oslo"', '"Oslo"'),
        ("several", '"Oslo"', '["Oslo","Rome"]'),
        ("always", '["Oslo"]', '["Oslo","Rome"]'),
    ],
)
def test_several_spans_are_a_list_as_the_teacher_lists(listing: str, one: str, two: str) -> None:
    grammar = json_of(Field(path=("city",), marks=(Mark(),), listing=listing))  # type: ignore[arg-type]
    assert grammar.compose(TEXT, [], [Span(0, *OSLO)]) == f'{{"city":{one}}}'
    assert grammar.compose(TEXT, [], [Span(0, *OSLO), Span(0, *ROME)]) == f'{{"city":{two}}}'


def test_a_list_of_objects_takes_its_constants_from_the_mark() -> None:
    kinds = tuple(Mark((("type", f'"{kind}"'), ("text", ""))) for kind in ("from", "to"))
    grammar = json_of(Field(path=(), choices=("[]",), marks=kinds, listing="always"))
    assert grammar.compose(TEXT, [], []) == "[]"
    assert msgspec.json.decode(grammar.compose(TEXT, [], [Span(0, *OSLO), Span(1, *ROME)])) == [
        {"type": "from", "text": "Oslo"},
        {"type": "to", "text": "Rome"},
    ]


def test_a_distinct_list_names_a_value_once() -> None:
    grammar = json_of(Field(path=("city",), marks=(Mark(),), listing="always", is_distinct=True))
    assert grammar.compose("Oslo Oslo", [], [Span(0, 0, 4), Span(0, 5, 9)]) == '{"city":["Oslo"]}'


def test_a_number_is_written_as_it_stands_or_not_at_all() -> None:
    grammar = json_of(Field(path=("days",), marks=(Mark(is_number=True),)))
    assert grammar.compose(TEXT, [], [Span(0, *THREE)]) == '{"days":3}'
    with pytest.raises(SpecialistError, match="malformed"):
        grammar.compose(TEXT, [], [Span(0, *ROME)])


def test_a_choice_beside_marks_wins_over_what_was_marked() -> None:
    """With more than one choice the tagger says which, or that the spans count."""
    grammar = json_of(Field(path=("city",), choices=("null", '"any"'), marks=(Mark(),)))
    assert grammar.options == 3
    assert [grammar.compose(TEXT, [option], [Span(0, *ROME)]) for option in range(3)] == [
        '{"city":null}',
        '{"city":"any"}',
        '{"city":"Rome"}',
    ]
    assert grammar.compose(TEXT, [2], []) == '{"city":null}'


def test_objects_may_be_there_though_empty() -> None:
    grammar = json_of(Field(path=("slots", "city"), marks=(Mark(),)), objects=(("slots",),))
    assert grammar.compose(TEXT, [], []) == '{"slots":{}}'


def test_the_teachers_frame_and_style_are_kept() -> None:
    field = Field(path=("a",), choices=("1",))
    assert json_of(field, style="spaced").compose(TEXT, [], []) == '{"a": 1}'
    assert json_of(field, style="indented").compose(TEXT, [], []) == '{\n  "a": 1\n}'
    call = Grammar(frame="tool_call", style="spaced", fields=(field,))
    assert call.compose(TEXT, [], []) == '<tool_call>\n{"a": 1}\n</tool_call>'
    label = Grammar(frame="text", fields=(Field(path=(), choices=('"up"', '"down"')),))
    assert label.compose(TEXT, [1], []) == "down"
