"""The numbered table of all checks; each enters itself."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

import msgspec

from tests.conformance import checks

if TYPE_CHECKING:
    from tests.conformance.harness import Harness

Body = Callable[["Harness"], None]


class SkipError(Exception):
    """The check does not apply to this gateway; the message says why."""


class Check(msgspec.Struct, frozen=True):
    """One demand: `rule` is a sentence, `source` is its origin, `body` raises AssertionError."""

    number: int
    rule: str
    source: str
    body: Body


_TABLE: dict[int, Check] = {}


def check(number: int, rule: str, *, source: str) -> Callable[[Body], Body]:
    """Enter a function into the table; its number never changes and is used once."""

    def enter(body: Body) -> Body:
        assert number not in _TABLE, f"check {number} exists: {_TABLE[number].rule}"
        _TABLE[number] = Check(number, rule, source, body)
        return body

    return enter


def all_checks() -> list[Check]:
    """Return every check of every module in `checks/`, by number."""
    for module in iter_modules(checks.__path__, f"{checks.__name__}."):
        import_module(module.name)
    return [_TABLE[number] for number in sorted(_TABLE)]
