"""Near copies of a template on probation: audits show whether they are the same task."""

from __future__ import annotations

from typing import Protocol

from gateway.confidence.base import AuditHistory
from gateway.core import Audit, CopyStatus, copy_keys

PROBATION_AUDITS = 30
PASSES_NEEDED = 10
"""Audits with a draft that would have been served: without them, no loss could have counted."""
MOST_LOSSES = 2
"""A copy with the task's own answers exceeds it in 30 audits in 6 % of the cases at alpha 5 %; it
then founds a task of its own, which costs time and no answer."""
_MOSTLY_WRONG = 0.5
"""A graded loss above it counts: a list without one of its items is no sign of another task."""
PLACE_TEMPLATES = 3
"""Templates that must differ at one place before any other filling of it is known to vary."""


class CopyBook(Protocol):
    """Where the status of near copies is kept."""

    def put(self, task: str, copy: str, status: CopyStatus) -> None:
        """Store a status unless the copy has one already. May block."""


class ProbationMonitor:
    """Counts the audits of near copies, and ends their probation.

    Every worker may run one: all see the audits in one order, and the first to write wins. A loss
    counts where the client would have got the draft under the task's own certificate for new texts.
    """

    def __init__(self, book: CopyBook, audits: AuditHistory) -> None:
        self._book = book
        self._audits = audits
        self._seen = 0
        self._probations: dict[tuple[str, str], _Probation] = {}

    def refresh(self) -> None:
        """Process the new audits. May block."""
        for seq, audit in self._audits.since(self._seen):
            self._seen = seq
            if audit.is_on_probation and audit.passes_as_new is not None:
                self._process_audit(audit)

    def _process_audit(self, audit: Audit) -> None:
        copies = copy_keys(audit.template, audit.place)
        # Counted for both before anything is written: a write may fail, and is tried at the next audit.
        decided = [
            (copy, self._probations.setdefault((audit.task, copy), _Probation()).status_after(audit, needed))
            for copy, needed in zip(copies, (1, PLACE_TEMPLATES), strict=True)
        ]
        for copy, status in decided:
            if status is not None:
                self._book.put(audit.task, copy, status)


class _Probation:
    """The audits of one copy, or of all copies that differ at one place."""

    def __init__(self) -> None:
        self._audits = 0
        self._passed = 0
        self._templates: set[str] = set()
        self._losing: list[str] = []
        self._status: CopyStatus | None = None

    def status_after(self, audit: Audit, templates_needed: int) -> CopyStatus | None:
        """Return the status that is decided by now, None before; it never changes.

        It is returned for later audits too: one that could not be stored is then stored.
        """
        if self._status is None:
            self._count(audit)
            self._status = self._decide(templates_needed)
        return self._status

    def _count(self, audit: Audit) -> None:
        self._audits += 1
        self._passed += bool(audit.passes_as_new)
        self._templates.add(audit.template)
        if audit.passes_as_new and audit.loss > _MOSTLY_WRONG:
            self._losing.append(audit.template)

    def _decide(self, templates_needed: int) -> CopyStatus | None:
        if len(self._losing) > MOST_LOSSES:
            # One template's losses say nothing of another at the same place.
            return "separate" if len(set(self._losing)) >= min(templates_needed, 2) else None
        is_long = self._audits >= PROBATION_AUDITS and self._passed >= PASSES_NEEDED
        return "known" if is_long and len(self._templates) >= templates_needed else None
