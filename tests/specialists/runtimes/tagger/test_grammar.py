from __future__ import annotations

import msgspec
import pytest

from gateway.errors import SpecialistError
from gateway.specialists.runtimes.tagger.grammar import OMITTED, Field, Grammar, Span, SpanType, find_spans

TEXT = "fly from Oslo to Rome in 3 days"
OSLO, ROME, THREE = (9, 13), (17, 21), (25, 26)


def json_grammar(*fields: Field, **more: object) -> Grammar:
    return Grammar(frame="json", fields=fields, **more)  # type: ignore[arg-type]


def test_spans_are_cut_where_the_next_begins() -> None:
    assert find_spans([1, 2, 1, 0, 3, 4], [0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 11]) == [
        Span(0, 0, 3),
        Span(0, 4, 5),
        Span(1, 8, 11),
    ]
    assert find_spans([], [], []) == find_spans([0], [0], [1]) == []


def test_spans_and_choices_fill_the_fields_of_the_answer() -> None:
    grammar = json_grammar(
        Field(path=("intent",), choices=('"fly"', '"stay"')),
        Field(path=("to", "city"), span_types=(SpanType(),)),
        Field(path=("to", "hotel"), choices=(OMITTED,), span_types=(SpanType(),)),
    )
    assert grammar.compose_answer(TEXT, [0], [Span(0, *ROME)]) == '{"intent":"fly","to":{"city":"Rome"}}'
    assert grammar.compose_answer(TEXT, [1], []) == '{"intent":"stay"}'


@pytest.mark.parametrize(
    ("listing", "one", "two"),
    [
        ("never", '"Oslo"', '"Oslo"'),
        ("several", '"Oslo"', '["Oslo","Rome"]'),
        ("always", '["Oslo"]', '["Oslo","Rome"]'),
    ],
)
def test_several_spans_are_a_list_as_the_teacher_lists(listing: str, one: str, two: str) -> None:
    grammar = json_grammar(Field(path=("city",), span_types=(SpanType(),), listing=listing))  # type: ignore[arg-type]
    assert grammar.compose_answer(TEXT, [], [Span(0, *OSLO)]) == f'{{"city":{one}}}'
    assert grammar.compose_answer(TEXT, [], [Span(0, *OSLO), Span(0, *ROME)]) == f'{{"city":{two}}}'


def test_a_list_of_objects_takes_its_constants_from_the_span_type() -> None:
    kinds = tuple(SpanType((("type", f'"{kind}"'), ("text", ""))) for kind in ("from", "to"))
    grammar = json_grammar(Field(path=(), choices=("[]",), span_types=kinds, listing="always"))
    assert grammar.compose_answer(TEXT, [], []) == "[]"
    assert msgspec.json.decode(grammar.compose_answer(TEXT, [], [Span(0, *OSLO), Span(1, *ROME)])) == [
        {"type": "from", "text": "Oslo"},
        {"type": "to", "text": "Rome"},
    ]


def test_a_distinct_list_names_a_value_once() -> None:
    grammar = json_grammar(
        Field(path=("city",), span_types=(SpanType(),), listing="always", is_distinct=True)
    )
    assert grammar.compose_answer("Oslo Oslo", [], [Span(0, 0, 4), Span(0, 5, 9)]) == '{"city":["Oslo"]}'


def test_a_number_is_written_as_it_stands_or_not_at_all() -> None:
    grammar = json_grammar(Field(path=("days",), span_types=(SpanType(is_number=True),)))
    assert grammar.compose_answer(TEXT, [], [Span(0, *THREE)]) == '{"days":3}'
    with pytest.raises(SpecialistError, match="malformed"):
        grammar.compose_answer(TEXT, [], [Span(0, *ROME)])


def test_a_choice_wins_over_the_spans() -> None:
    """With more than one choice the tagger decides between them and the spans."""
    grammar = json_grammar(Field(path=("city",), choices=("null", '"any"'), span_types=(SpanType(),)))
    assert grammar.options == 3
    assert [grammar.compose_answer(TEXT, [option], [Span(0, *ROME)]) for option in range(3)] == [
        '{"city":null}',
        '{"city":"any"}',
        '{"city":"Rome"}',
    ]
    assert grammar.compose_answer(TEXT, [2], []) == '{"city":null}'


def test_objects_may_be_there_even_when_empty() -> None:
    grammar = json_grammar(Field(path=("slots", "city"), span_types=(SpanType(),)), objects=(("slots",),))
    assert grammar.compose_answer(TEXT, [], []) == '{"slots":{}}'


def test_the_teachers_frame_and_style_are_kept() -> None:
    field = Field(path=("a",), choices=("1",))
    assert json_grammar(field, style="spaced").compose_answer(TEXT, [], []) == '{"a": 1}'
    assert json_grammar(field, style="indented").compose_answer(TEXT, [], []) == '{\n  "a": 1\n}'
    call = Grammar(frame="tool_call", style="spaced", fields=(field,))
    assert call.compose_answer(TEXT, [], []) == '<tool_call>\n{"a": 1}\n</tool_call>'
    label = Grammar(frame="text", fields=(Field(path=(), choices=('"up"', '"down"')),))
    assert label.compose_answer(TEXT, [1], []) == "down"
