"""The result of a query in the width of a terminal: a table, or a line per field where that is too narrow."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from gateway.cli.harvest.terminal_text import make_visible

LONGEST = 60
"""Columns that a text takes at most in a table."""
_LEAST = 20
"""Columns that are left of a text when a table has to be narrower."""
_GAP = "  "
_MORE = " ..."


def format_result(columns: Sequence[str], rows: Sequence[Sequence[Any]], width: int) -> Iterator[str]:
    """Yield the lines. Texts are cut to fit; ids and numbers are not."""
    table = [list(columns), *([_to_text(value) for value in row] for row in rows)]
    widths = _fit([[line[place] for line in table] for place in range(len(columns))], width)
    if sum(widths) + len(_GAP) * (len(widths) - 1) > width:
        yield from _list_fields(table, width)
        return
    for line in table:
        cells = (_cut(value, room).ljust(room) for value, room in zip(line, widths, strict=True))
        yield _GAP.join(cells).rstrip()


def _fit(columns: Sequence[Sequence[str]], width: int) -> list[int]:
    """Return the width of each column, so that all fit if the texts among them can be cut so far."""
    widths = [min(max(map(len, column)), LONGEST) for column in columns]
    texts = [place for place, column in enumerate(columns) if any(" " in value for value in column)]
    while sum(widths) + len(_GAP) * (len(widths) - 1) > width:
        widest = max(texts, key=lambda place: widths[place], default=None)
        if widest is None or widths[widest] <= _LEAST:
            break
        widths[widest] -= 1
    return widths


def _list_fields(table: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    names, *rows = table
    indent = max(map(len, names)) + len(_GAP)
    for number, row in enumerate(rows):
        if number:
            yield ""
        for name, value in zip(names, row, strict=True):
            yield f"{name:{indent}}{_cut(value, max(width - indent, _LEAST))}".rstrip()


def _cut(value: str, room: int) -> str:
    if len(value) <= room:
        return value
    # Of one long word `shorten` would leave nothing.
    is_word = " " not in value[: room - len(_MORE)]
    return (
        f"{value[: room - len(_MORE)]}{_MORE}"
        if is_word
        else textwrap.shorten(value, room, placeholder=_MORE)
    )


def _to_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return make_visible(" ".join(value.split())) if isinstance(value, str) else str(value)
