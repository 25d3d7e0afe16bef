"""Near copies of a template on probation: audits show whether they are the same task."""

from __future__ import annotations

from typing import Protocol

from gateway.confidence.base import AuditHistory
from gateway.core import Audit, CopyStatus, copy_keys

PROBATION_AUDITS = 30
PASSES_NEEDED = 10
"""Audits whose draft would have been served: without them, no loss could have counted."""
MOST_LOSSES = 2
"""A copy whose answers are the task's own exceeds it in 30 audits in 6 % of the cases at alpha 5 %; it
then founds a task of its own, which costs time and no answer."""
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
        for copy, templates_needed in zip(copies, (1, PLACE_TEMPLATES), strict=True):
            probation = self._probations.setdefault((audit.task, copy), _Probation())
            status = probation.status_after(audit, templates_needed)
            if status is not None:
                self._book.put(audit.task, copy, status)


class _Probation:
    """The audits of one copy, or of all copies that differ at one place."""

    def __init__(self) -> None:
        self._audits = 0
        self._passed = 0
        self._templates: set[str] = set()
        self._losing: list[str] = []
        self._is_over = False

    def status_after(self, audit: Audit, templates_needed: int) -> CopyStatus | None:
        """Return the status that `audit` decides, once; None before and after."""
        if self._is_over:
            return None
        self._audits += 1
        self._passed += bool(audit.passes_as_new)
        self._templates.add(audit.template)
        if audit.passes_as_new and audit.loss > 0.0:
            self._losing.append(audit.template)
        if len(self._losing) > MOST_LOSSES:
            # One template's losses say nothing of another at the same place.
            self._is_over = len(set(self._losing)) >= min(templates_needed, 2)
            return "separate" if self._is_over else None
        is_long = self._audits >= PROBATION_AUDITS and self._passed >= PASSES_NEEDED
        is_long = is_long and len(self._templates) >= templates_needed
        self._is_over = is_long
        return "known" if is_long else None
