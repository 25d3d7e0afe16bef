"""Runs checks one after another, whatever a strange gateway does to them."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Iterable, Iterator

import msgspec

from tests.conformance.harness import Harness, WireAnswer
from tests.conformance.report import Entry
from tests.conformance.table import Check, SkipError

REASON_CHARS = 140


class Result(msgspec.Struct, frozen=True):
    """The result of one check; `outcome` is pass, fail or skip."""

    check: Check
    outcome: str
    reason: str = ""

    @property
    def entry(self) -> Entry:
        """The result as it stands in tables."""
        return Entry(self.check.number, self.check.rule, self.check.source, self.outcome, self.reason)


def run_checks(harness: Harness, checks: Iterable[Check]) -> Iterator[Result]:
    """Yield the result of each check, in order."""
    for one in checks:
        harness.teacher.forget()
        try:
            one.body(harness)
        except SkipError as exc:
            yield Result(one, "skip", str(exc))
        except Exception as exc:
            # Any error means that the gateway did not do what the check asks for.
            yield Result(one, "fail", _short(exc))
        else:
            yield Result(one, "pass")


def _short(exc: Exception) -> str:
    """Return one line: the error's message, or else the failed demand, and the answer."""
    line = " ".join(str(exc).split()) or _demand(exc)
    return f"{line[:REASON_CHARS]}..." if len(line) > REASON_CHARS else line


def _demand(exc: Exception) -> str:
    frame, number = list(traceback.walk_tb(exc.__traceback__))[-1]
    demand = linecache.getline(frame.f_code.co_filename, number).strip().removeprefix("assert ")
    got = frame.f_locals.get("got")
    return f"not so: {demand}" + (
        f"; but {got.status} {got.body[:40]!r}" if isinstance(got, WireAnswer) else ""
    )
