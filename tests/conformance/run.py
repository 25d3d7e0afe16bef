"""Running checks one after another, whatever a strange gateway does to them."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Iterable, Iterator

import msgspec

from tests.conformance.harness import Got, Lab
from tests.conformance.report import Entry
from tests.conformance.table import Check, SkipError

REASON_CHARS = 140


class Result(msgspec.Struct, frozen=True):
    """What became of one check; `outcome` is pass, fail or skip."""

    check: Check
    outcome: str
    reason: str = ""

    @property
    def entry(self) -> Entry:
        """The same as it stands in tables."""
        return Entry(self.check.number, self.check.rule, self.check.source, self.outcome, self.reason)


def run(lab: Lab, checks: Iterable[Check]) -> Iterator[Result]:
    """Yield the result of each check, in order."""
    for one in checks:
        lab.teacher.forget()
        try:
            one.body(lab)
        except SkipError as fault:
            yield Result(one, "skip", str(fault))
        except Exception as fault:
            # Whatever it was, the gateway did not do what the check asks for.
            yield Result(one, "fail", _short(fault))
        else:
            yield Result(one, "pass")


def _short(fault: Exception) -> str:
    """Return one line: the fault's own words, else the demand which was not met, and the answer."""
    line = " ".join(str(fault).split()) or _demand(fault)
    return f"{line[:REASON_CHARS]}..." if len(line) > REASON_CHARS else line


def _demand(fault: Exception) -> str:
    frame, number = list(traceback.walk_tb(fault.__traceback__))[-1]
    demand = linecache.getline(frame.f_code.co_filename, number).strip().removeprefix("assert ")
    got = frame.f_locals.get("got")
    return f"not so: {demand}" + (f"; but {got.status} {got.body[:40]!r}" if isinstance(got, Got) else "")
