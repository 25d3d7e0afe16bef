"""How a task's answers are built: from spans of the input, and from values which repeat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Literal

import msgspec

from gateway.errors import SpecialistError

OMITTED = ""
"""The choice of a field which is not there; any other choice is JSON."""

Frame = Literal["text", "json", "tool_call"]
Style = Literal["compact", "spaced", "indented"]
Listing = Literal["never", "several", "always"]

_INDENTS: dict[Style, int] = {"compact": -1, "spaced": 0, "indented": 2}


class Mark(msgspec.Struct, frozen=True):
    """One kind of span, and what is made of it.

    `element` are the (key, JSON) pairs of the object around it, the span itself having no JSON;
    without pairs the span stands alone.
    """

    element: tuple[tuple[str, str], ...] = ()
    is_number: bool = False


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One place of the answer, by the keys which lead to it.

    It holds what its marks found, else one of `choices`, commonest first; with more than one
    possibility beside the marks the tagger is asked which, see `options`. `listing` is when its
    spans are a list. `is_distinct`: a list names each value once.
    """

    path: tuple[str, ...]
    choices: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()
    listing: Listing = "never"
    is_distinct: bool = False

    @property
    def options(self) -> int:
        """Number of possibilities to decide between: the choices, then the marks; 0: nothing to decide."""
        return len(self.choices) + bool(self.marks) if len(self.choices) > 1 else 0


class Span(msgspec.Struct, frozen=True):
    """The characters [start, end) of the input, and which of the grammar's marks they bear."""

    mark: int
    start: int
    end: int


class Grammar(msgspec.Struct, frozen=True, kw_only=True):
    """All answers which a tagger can give.

    `frame` is what stands around the value, `style` the teacher's way to write JSON, `objects`
    the paths of objects which are there even when empty. Marks are numbered through the fields;
    mark m has the tags 1 + 2m (first word) and 2 + 2m (further words), 0 is no mark.
    """

    frame: Frame
    style: Style = "compact"
    fields: tuple[Field, ...] = ()
    objects: tuple[tuple[str, ...], ...] = ()

    @property
    def tags(self) -> int:
        """Number of tags."""
        return 1 + 2 * sum(len(field.marks) for field in self.fields)

    @property
    def options(self) -> int:
        """Number of options of all fields together: one output of the tagger each."""
        return sum(field.options for field in self.fields)

    def compose(self, text: str, chosen: Sequence[int], spans: Sequence[Span]) -> str:
        """Return the answer to `text`: `chosen` has an option for each field which has any.

        Raises SpecialistError when a span should be a number and is none.
        """
        root: Any = {}
        for path in self.objects:
            _put(root, path, {})
        options, first = iter(chosen), 0
        for field in self.fields:
            mine = [span for span in spans if first <= span.mark < first + len(field.marks)]
            value = _value(field, first, next(options) if field.options else None, text, mine)
            first += len(field.marks)
            if value is None:
                continue
            if not field.path:
                return self._written(value)
            _put(root, field.path, value)
        return self._written(root)

    def _written(self, value: Any) -> str:
        raw = msgspec.json.encode(value)
        if self.frame == "text":
            return str(msgspec.json.decode(raw))
        written = msgspec.json.format(raw, indent=_INDENTS[self.style]).decode()
        return f"<tool_call>\n{written}\n</tool_call>" if self.frame == "tool_call" else written


def spans_of(tags: Sequence[int], starts: Sequence[int], ends: Sequence[int]) -> list[Span]:
    """Return the spans which `tags`, one a word, mark in the input, in its order."""
    edges = [number for number, tag in enumerate(tags) if tag == 0 or tag % 2]
    spans = []
    for begin, after in pairwise([*edges, len(tags)]):
        if tags[begin]:
            spans.append(Span((tags[begin] - 1) // 2, starts[begin], ends[after - 1]))
    return spans


def _value(field: Field, first: int, option: int | None, text: str, spans: Sequence[Span]) -> Any:
    """Return what `field` holds, None when it is not there."""
    if option is not None and option < len(field.choices):
        return _choice(field.choices[option])
    if not spans:
        return _choice(field.choices[0]) if field.choices else None
    elements = [_element(field.marks[span.mark - first], text[span.start : span.end]) for span in spans]
    if field.is_distinct:
        elements = list({msgspec.json.encode(element): element for element in elements}.values())
    is_list = field.listing == "always" or (field.listing == "several" and len(elements) > 1)
    return elements if is_list else elements[0]


def _choice(choice: str) -> Any:
    return None if choice == OMITTED else msgspec.Raw(choice.encode())


def _element(mark: Mark, found: str) -> Any:
    value: Any = _number(found) if mark.is_number else found
    if not mark.element:
        return value
    return {key: msgspec.Raw(constant.encode()) if constant else value for key, constant in mark.element}


def _number(found: str) -> Any:
    try:
        msgspec.json.decode(found, type=float)
    except msgspec.DecodeError:
        raise SpecialistError("answer malformed", "no number where one should be") from None
    return msgspec.Raw(found.encode())


def _put(root: dict[str, Any], path: Iterable[str], value: Any) -> None:
    """Set `value` at `path`, unless something else than an object is on the way."""
    *way, last = path
    inner: Any = root
    for key in way:
        inner = inner.setdefault(key, {})
        if not isinstance(inner, dict):
            return
    inner[last] = value
