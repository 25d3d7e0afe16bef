"""Forgetting for good: rows, audits, and every specialist that has learnt from them."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from gateway.core import Certificate, Certification, hash_text
from gateway.harvest.exports import Export, read_exports
from gateway.harvest.reader import HarvestReader
from gateway.harvest.removal import Forgotten, Selection, find_rows, forget, wipe
from gateway.registry.models import Registry
from gateway.store.decision_record import DecisionRecord
from gateway.store.home import Home
from gateway.store.state import State

if TYPE_CHECKING:
    from gateway.harvest.parts.removal import PartsRemoval

LOG_LIMIT_S = 5.0
WITHDRAWN = "withdrawn: a text that it had learnt was forgotten; the next version is trained without it"
BLOCKED = "blocked: evidence that it stood on was forgotten; it must be earned again from what is left"
NOT_OURS = (
    "backups of the home folder",
    "logs, traces and metrics that were sent elsewhere",
    "the teacher's own records of the requests",
)
"""What a receipt must name, because nothing here can remove it."""
OTHER_MACHINES = (
    "the outboxes of other machines that share the parts: ask there, too",
    "earlier versions of the files, if the object storage keeps them",
)


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What was forgotten, in hashes: a receipt must not be a copy."""

    at: float
    rows: int
    held_out: int
    request_hashes: tuple[str, ...]
    """SHA-256 of each request's id."""
    audits: int
    decisions: int
    """Records of decisions; the sums of money that they were counted in stay."""
    tasks: tuple[str, ...]
    withdrawn: tuple[str, ...]
    """The versions of specialists, `task/version`, that had learnt a forgotten text; deleted."""
    blocked: tuple[str, ...]
    """The tasks whose certificates stood on forgotten evidence; the teacher answers until they are earned
    again from what is left."""
    exports: tuple[Export, ...]
    """Exports made after the first of the rows came, of their tasks: files that may still hold them."""
    is_wiped: bool
    """False: no reader finds the rows, but one kept their bytes from being overwritten; ask again."""
    still_held_by: tuple[str, ...] = NOT_OURS


def forget_rows(
    home: Home,
    state: State,
    selection: Selection,
    parts: PartsRemoval | None = None,
    registry: Registry | None = None,
    *,
    say: Callable[[str], object] = lambda _: None,
) -> Receipt:
    """Forget the selected rows and what was made of them; may block while the learner takes a step.

    `say` is told that it does.

    `parts` holds rows that left the outboxes; nothing must be moved there meanwhile. `registry`: that of
    several machines; None for the home's own.

    A specialist that has learnt one of the texts is withdrawn and deleted, whatever else it knows: the
    teacher answers until the learner has trained the next one from the rows that are left. So it does where
    a certificate stood on forgotten evidence. The ledger's sums stay, which hold no content.
    """
    state.database.wipe_deletions()
    registry = registry or Registry(home.registry)
    with _lock_learner(home, say):
        # The rows go last: killed in between, a second call finds them again and ends what is left to do.
        found = find_rows(home.harvest, selection) + (parts.find_rows(selection) if parts else [])
        tasks = sorted({row.task for row in found})
        withdrawn = [name for task in tasks for name in _withdraw(registry, state, task, found)]
        blocked = [task for task in tasks if _block(state, task, found)]
        for task in tasks:
            # Caches of the recipes hold texts and what was computed from them.
            shutil.rmtree(home.learn / task, ignore_errors=True)
        audits = state.audits.forget([row.request_id for row in found])
        state.reviews.forget([row.request_id for row in found])
        rows = forget(home.harvest, selection) + (parts.forget(selection) if parts else [])
        left = {*HarvestReader(home.harvest).counts(), *(parts.count_rows() if parts else ())}
        for task in set(tasks) - left:
            # Nothing of it is left to learn from: its template is a user's words, too.
            state.tasks.blank(task)
            state.templates.forget(task)
    decisions, are_wiped = _forget_decisions(state, selection, found)
    if parts:
        parts.wipe()
    is_wiped = wipe(home.harvest) and state.database.empty_log(LOG_LIMIT_S) and are_wiped
    return Receipt(
        at=time.time(),
        rows=len(rows),
        held_out=sum(row.is_held_out for row in rows),
        request_hashes=tuple(sorted(hashlib.sha256(row.request_id.encode()).hexdigest() for row in rows)),
        audits=audits,
        decisions=decisions,
        tasks=tuple(tasks),
        withdrawn=tuple(withdrawn),
        blocked=tuple(blocked),
        exports=tuple(_find_exports(home, rows)),
        is_wiped=is_wiped,
        still_held_by=NOT_OURS + (OTHER_MACHINES if parts else ()),
    )


def _withdraw(registry: Registry, state: State, task: str, rows: Sequence[Forgotten]) -> Iterator[str]:
    """Delete the versions of `task` that have learnt one of its forgotten texts, and yield their names."""
    from gateway.specialists.learnt import read_learnt_texts

    texts = {hash_text(row.text) for row in rows if row.task == task}
    for version in registry.versions(task):
        if texts.isdisjoint(read_learnt_texts(registry.folder(task, version))):
            continue
        certification = state.certifications.of(task)
        if certification.version == version:
            state.certifications.put(_withdrawn(certification))
        registry.delete(task, version)
        yield f"{task}/{version}"


def _block(state: State, task: str, rows: Sequence[Forgotten]) -> bool:
    """Take back the certificates of `task` that stood on forgotten evidence; return whether any did."""
    times = [row.at for row in rows if row.task == task and row.is_held_out]
    old = state.certifications.of(task)
    certificates = tuple(
        _in_shadow(each, BLOCKED) if any(_stood_on(each, at) for at in times) else each
        for each in old.certificates
    )
    if certificates == old.certificates:
        return False
    # A new epoch: the learner starts anew, and what it is just writing comes too late.
    state.certifications.put(
        msgspec.structs.replace(old, epoch=old.epoch + 1, certificates=certificates, note=BLOCKED)
    )
    return True


def _stood_on(certificate: Certificate, at: float) -> bool:
    return certificate.stage == "live" and certificate.evidence_from <= at <= certificate.evidence_to


def _withdrawn(old: Certification) -> Certification:
    """Return the certification of a task without its version."""
    certificates = tuple(_in_shadow(each, WITHDRAWN) for each in old.certificates)
    return msgspec.structs.replace(
        old, version=None, deferral=None, epoch=old.epoch + 1, certificates=certificates, note=WITHDRAWN
    )


def _in_shadow(certificate: Certificate, note: str) -> Certificate:
    """Return `certificate`, which serves no more; what it has spent of delta stays spent."""
    return msgspec.structs.replace(certificate, stage="shadow", threshold=None, tentative=None, note=note)


def _forget_decisions(state: State, selection: Selection, rows: Sequence[Forgotten]) -> tuple[int, bool]:
    """Delete the decision records of the rows; of a whole tenant or caller, those of all its requests."""
    requests = {row.request_id for row in rows} | {selection.request_id}
    owner = (selection.tenant, selection.caller)
    is_owner_alone = selection == Selection(tenant=selection.tenant, caller=selection.caller)

    def is_wanted(record: DecisionRecord) -> bool:
        row = record.row
        if row.request_id in requests:
            return True
        theirs = (selection.tenant and row.tenant, selection.caller and row.key)
        return is_owner_alone and owner == theirs

    return state.decisions.forget(is_wanted, LOG_LIMIT_S)


def _find_exports(home: Home, rows: Sequence[Forgotten]) -> list[Export]:
    tasks, oldest = {row.task for row in rows}, min((row.at for row in rows), default=0.0)
    return [each for each in read_exports(home) if tasks.intersection(each.tasks) and each.at >= oldest]


@contextmanager
def _lock_learner(home: Home, say: Callable[[str], object]) -> Iterator[None]:
    home.learner_lock.touch(mode=0o600)
    with home.learner_lock.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for the learner to end its step, which may take minutes ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
