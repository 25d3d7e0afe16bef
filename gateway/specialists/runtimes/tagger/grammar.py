"""The form of a task's answers: what is copied from spans of the input, and what is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Literal

import msgspec

from gateway.errors import SpecialistError

OMITTED = ""
"""The choice of a field that is left out; any other choice is JSON."""

Frame = Literal["text", "json", "tool_call"]
Style = Literal["compact", "spaced", "indented"]
Listing = Literal["never", "several", "always"]

_INDENTS: dict[Style, int] = {"compact": -1, "spaced": 0, "indented": 2}


class SpanType(msgspec.Struct, frozen=True):
    """One kind of span, and the JSON that is made of it.

    `element` are the (key, JSON) pairs of the object around the span; the span's own key has no
    JSON. Without pairs the span stands alone.
    """

    element: tuple[tuple[str, str], ...] = ()
    is_number: bool = False


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One place of the answer, by the keys that lead to it.

    It holds the spans of its types, else one of `choices`, commonest first; with more than one
    choice the tagger decides between them and the spans, see `options`. `listing` says when its
    spans are a list. `is_distinct`: a list names each value once.
    """

    path: tuple[str, ...]
    choices: tuple[str, ...] = ()
    span_types: tuple[SpanType, ...] = ()
    listing: Listing = "never"
    is_distinct: bool = False

    @property
    def options(self) -> int:
        """Number of options to decide between: the choices, then the spans; 0: nothing to decide."""
        return len(self.choices) + bool(self.span_types) if len(self.choices) > 1 else 0


class Span(msgspec.Struct, frozen=True):
    """The characters [start, end) of the input, and the number of their span type in the grammar."""

    span_type: int
    start: int
    end: int


class Grammar(msgspec.Struct, frozen=True, kw_only=True):
    """All answers that a tagger can give.

    `frame` is the text around the value, `style` the teacher's way to write JSON, `objects` the
    paths of objects that are there even when empty. Span types are numbered through the fields.
    Tags are BIO: 0 is O (outside), 1 + 2t is B- (the first word of a span of type t), 2 + 2t is I-
    (a further word of it).
    """

    frame: Frame
    style: Style = "compact"
    fields: tuple[Field, ...] = ()
    objects: tuple[tuple[str, ...], ...] = ()

    @property
    def tags(self) -> int:
        """Number of tags."""
        return 1 + 2 * sum(len(field.span_types) for field in self.fields)

    @property
    def options(self) -> int:
        """Number of options of all fields together; the tagger has one output for each."""
        return sum(field.options for field in self.fields)

    @property
    def is_choice(self) -> bool:
        """Whether an answer is one of the options of one field, and nothing else."""
        return len(self.fields) == 1 and self.options > 0 and not self.fields[0].span_types

    def compose_answer(self, text: str, options: Sequence[int], spans: Sequence[Span]) -> str:
        """Return the answer to `text`; `options` has one entry for each field that has any.

        Raises SpecialistError if a span should be a number and is none.
        """
        root: Any = {}
        for path in self.objects:
            _set_value(root, path, {})
        remaining, first = iter(options), 0
        for field in self.fields:
            own = [span for span in spans if first <= span.span_type < first + len(field.span_types)]
            value = _field_value(field, first, next(remaining) if field.options else None, text, own)
            first += len(field.span_types)
            if value is None:
                continue
            if not field.path:
                return self._format(value)
            _set_value(root, field.path, value)
        return self._format(root)

    def _format(self, value: Any) -> str:
        raw = msgspec.json.encode(value)
        if self.frame == "text":
            return str(msgspec.json.decode(raw))
        written = msgspec.json.format(raw, indent=_INDENTS[self.style]).decode()
        return f"<tool_call>\n{written}\n</tool_call>" if self.frame == "tool_call" else written


def find_spans(tags: Sequence[int], starts: Sequence[int], ends: Sequence[int]) -> list[Span]:
    """Return the spans in the order of the input; word i is the characters [starts[i], ends[i])."""
    edges = [number for number, tag in enumerate(tags) if tag == 0 or tag % 2]
    spans = []
    for begin, after in pairwise([*edges, len(tags)]):
        if tags[begin]:
            spans.append(Span((tags[begin] - 1) // 2, starts[begin], ends[after - 1]))
    return spans


def _field_value(field: Field, first: int, option: int | None, text: str, spans: Sequence[Span]) -> Any:
    """Return the value of `field`, None if it is left out; `first` is the number of its first span type."""
    if option is not None and option < len(field.choices):
        return _choice(field.choices[option])
    if not spans:
        return _choice(field.choices[0]) if field.choices else None
    elements = [
        _element(field.span_types[span.span_type - first], text[span.start : span.end]) for span in spans
    ]
    if field.is_distinct:
        elements = list({msgspec.json.encode(element): element for element in elements}.values())
    is_list = field.listing == "always" or (field.listing == "several" and len(elements) > 1)
    return elements if is_list else elements[0]


def _choice(choice: str) -> Any:
    return None if choice == OMITTED else msgspec.Raw(choice.encode())


def _element(span_type: SpanType, found: str) -> Any:
    value: Any = _number(found) if span_type.is_number else found
    if not span_type.element:
        return value
    return {key: msgspec.Raw(constant.encode()) if constant else value for key, constant in span_type.element}


def _number(found: str) -> Any:
    try:
        msgspec.json.decode(found, type=float)
    except msgspec.DecodeError:
        raise SpecialistError("answer malformed", "no number where one should be") from None
    return msgspec.Raw(found.encode())


def _set_value(root: dict[str, Any], path: Iterable[str], value: Any) -> None:
    """Set `value` at `path`, unless something other than an object is on the way."""
    *way, last = path
    inner: Any = root
    for key in way:
        inner = inner.setdefault(key, {})
        if not isinstance(inner, dict):
            return
    inner[last] = value
