"""Forgetting for good: rows, audits, and every specialist that has learnt from them."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from gateway.core import Certification, hash_text
from gateway.harvest.exports import Export, read_exports
from gateway.harvest.reader import HarvestReader
from gateway.harvest.removal import Forgotten, Selection, find_rows, forget, wipe
from gateway.registry.models import Registry
from gateway.store.home import Home
from gateway.store.state import State

LOG_LIMIT_S = 5.0
WITHDRAWN = "withdrawn: a text that it had learnt was forgotten; the next version is trained without it"
NOT_OURS = (
    "backups of the home folder",
    "logs, traces and metrics that were sent elsewhere",
    "the teacher's own records of the requests",
)
"""What a receipt must name, because nothing here can remove it."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What was forgotten, in hashes: a receipt must not be a copy."""

    at: float
    rows: int
    held_out: int
    request_hashes: tuple[str, ...]
    """SHA-256 of each request's id."""
    audits: int
    tasks: tuple[str, ...]
    withdrawn: tuple[str, ...]
    """The versions of specialists, `task/version`, that had learnt a forgotten text; deleted."""
    exports: tuple[Export, ...]
    """Exports made after the first of the rows came, of their tasks: files that may still hold them."""
    is_wiped: bool
    """False: no reader finds the rows, but one kept their bytes from being overwritten; ask again."""
    still_held_by: tuple[str, ...] = NOT_OURS


def forget_rows(home: Home, state: State, selection: Selection) -> Receipt:
    """Forget the selected rows and what was made of them; may block while the learner takes a step.

    A specialist that has learnt one of the texts is withdrawn and deleted, whatever else it knows: the
    teacher answers until the learner has trained the next one from the rows that are left. The ledger stays,
    which holds sums of money and no content.
    """
    state.database.wipe_deletions()
    with _lock_learner(home):
        # The rows go last: killed in between, a second call finds them again and ends what is left to do.
        found = find_rows(home.harvest, selection)
        tasks = sorted({row.task for row in found})
        withdrawn = [name for task in tasks for name in _withdraw(home, state, task, found)]
        for task in tasks:
            # Caches of the recipes hold texts and what was computed from them.
            shutil.rmtree(home.learn / task, ignore_errors=True)
        audits = state.audits.forget([row.request_id for row in found])
        state.reviews.forget([row.request_id for row in found])
        rows = forget(home.harvest, selection)
        for task in set(tasks) - HarvestReader(home.harvest).counts().keys():
            # Nothing of it is left to learn from: its template is somebody's words, too.
            state.tasks.blank(task)
            state.templates.forget(task)
    is_wiped = wipe(home.harvest) and state.database.empty_log(LOG_LIMIT_S)
    return Receipt(
        at=time.time(),
        rows=len(rows),
        held_out=sum(row.is_held_out for row in rows),
        request_hashes=tuple(sorted(hashlib.sha256(row.request_id.encode()).hexdigest() for row in rows)),
        audits=audits,
        tasks=tuple(tasks),
        withdrawn=tuple(withdrawn),
        exports=tuple(_find_exports(home, rows)),
        is_wiped=is_wiped,
    )


def _withdraw(home: Home, state: State, task: str, rows: Sequence[Forgotten]) -> Iterator[str]:
    """Delete the versions of `task` that have learnt one of its forgotten texts, and yield their names."""
    from gateway.specialists.learnt import read_learnt_texts

    registry = Registry(home.registry)
    texts = {hash_text(row.text) for row in rows if row.task == task}
    for version in registry.versions(task):
        if texts.isdisjoint(read_learnt_texts(registry.folder(task, version))):
            continue
        certification = state.certifications.of(task)
        if certification.version == version:
            state.certifications.put(_withdrawn(certification))
        registry.delete(task, version)
        yield f"{task}/{version}"


def _withdrawn(old: Certification) -> Certification:
    """Return the certification of a task whose version is gone; what it has spent of delta stays spent."""
    certificates = tuple(
        msgspec.structs.replace(each, stage="shadow", threshold=None, tentative=None, note=WITHDRAWN)
        for each in old.certificates
    )
    return msgspec.structs.replace(
        old, version=None, deferral=None, epoch=old.epoch + 1, certificates=certificates, note=WITHDRAWN
    )


def _find_exports(home: Home, rows: Sequence[Forgotten]) -> list[Export]:
    tasks, oldest = {row.task for row in rows}, min((row.at for row in rows), default=0.0)
    return [each for each in read_exports(home) if tasks.intersection(each.tasks) and each.at >= oldest]


@contextmanager
def _lock_learner(home: Home) -> Iterator[None]:
    home.learner_lock.touch(mode=0o600)
    with home.learner_lock.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
