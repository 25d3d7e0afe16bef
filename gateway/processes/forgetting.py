"""Forgetting for good: rows, audits, and every specialist that has learnt from them."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from gateway.core import hash_text
from gateway.harvest.exports import Export, read_exports
from gateway.harvest.reader import HarvestReader
from gateway.harvest.removal import Forgotten, Selection, find_rows, forget, wipe
from gateway.processes.withdrawal import block_certificates, withdraw_versions
from gateway.registry.models import Registry
from gateway.store.decision_record import DecisionRecord
from gateway.store.home import Home
from gateway.store.state import State

if TYPE_CHECKING:
    from gateway.harvest.parts.removal import PartsRemoval

LOG_LIMIT_S = 5.0
NOT_OURS = (
    "backups of the home folder",
    "bundles of its versions (`models bundle`): write them anew",
    "logs, traces and metrics that were sent elsewhere",
    "the teacher's own records of the requests",
)
"""What a receipt must name, because nothing here can remove it."""
OTHER_MACHINES = "the outboxes of other machines that share the parts but not the state: ask there, too"
FORGET_FEEDBACK = "forget feedback on requests that left no row: by --request, --tenant or --caller"
"""Of a user: what a specialist answered is kept nowhere under a user's name."""
OLD_FILES = "earlier versions of the files, if the object storage keeps them"


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
    left_to_do: tuple[str, ...] = ()
    """What could be deleted here and was not, because it is found by another selection alone."""


def forget_rows(
    home: Home,
    state: State,
    selection: Selection,
    parts: PartsRemoval | None = None,
    registry: Registry | None = None,
    *,
    tell_others: Callable[[Sequence[Forgotten]], object] | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> Receipt:
    """Forget the selected rows and what was made of them; may block while the learner takes a step (`say`).

    `parts` holds rows that left the outboxes; nothing must be moved there meanwhile. `registry`: that of
    several machines; None for the home's own. `tell_others` is called with the rows while they are there.

    A specialist that has learnt one of the texts is withdrawn and deleted, whatever else it knows, also where
    the retention has removed the row already: the teacher answers until the learner has trained the next one
    from the rows that are left. So it does where a certificate stood on forgotten evidence. The ledger's
    sums stay, which hold no content.
    """
    state.database.wipe_deletions()
    registry = registry or Registry(home.registry)
    with lock_learner(home, say):
        # The rows go last: killed in between, a second call finds them again and ends what is left to do.
        found = find_rows(home.harvest, selection) + (parts.find_rows(selection) if parts else [])
        if tell_others:
            tell_others(found)
        requests = {row.request_id for row in found} | ({selection.request_id} - {""})
        tasks = sorted({row.task for row in found})
        withdrawn = list(_withdraw_all(registry, state, found, selection))
        blocked = [task for task in tasks if _block(state, task, found)]
        trained = {name.rpartition("/")[0] for name in withdrawn}
        audits = forget_requests(home, state, sorted({*tasks, *trained}), requests)
        _forget_owner(state, selection)
        decisions, are_wiped = forget_decisions(state, selection, requests)
        _blank(state, _list_emptied(home, parts, found))
        rows = forget(home.harvest, selection) + (parts.forget(selection) if parts else [])
        # Of a task with rows that count twice, as evidence and for exports, it is known only now.
        _blank(state, set(tasks) - _count_left(home, parts).keys())
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
        still_held_by=_list_holders(has_parts=bool(parts), is_alone=tell_others is None),
        left_to_do=(FORGET_FEEDBACK,) if selection.user and state.reviews.feedback() else (),
    )


def write_receipt(home: Home, receipt: Receipt) -> None:
    """Keep the whole receipt in the home, beside those of other days."""
    home.receipts.mkdir(mode=0o700, exist_ok=True)
    name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(receipt.at))
    path = home.receipts / f"forget-{name}-{time.monotonic_ns()}.json"
    path.touch(mode=0o600)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(receipt)))


def forget_requests(home: Home, state: State, tasks: Sequence[str], requests: Set[str]) -> int:
    """Forget the audits of `requests`, what was said of them, and the caches of `tasks`; return the audits.

    Hold `lock_learner` meanwhile.
    """
    for task in tasks:
        # Caches of the recipes hold texts and what was computed from them.
        shutil.rmtree(home.learn / task, ignore_errors=True)
    state.reviews.forget(sorted(requests))
    state.preferences.forget(sorted(requests))
    return state.audits.forget(sorted(requests))


@contextmanager
def lock_learner(home: Home, say: Callable[[str], object] = lambda _: None) -> Iterator[None]:
    """Keep the learner of this home from taking its next step; `say` is told of a wait for this one's end."""
    home.learner_lock.touch(mode=0o600)
    with home.learner_lock.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for the learner to end its step, which may take minutes ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _withdraw_all(
    registry: Registry, state: State, rows: Sequence[Forgotten], selection: Selection
) -> Iterator[str]:
    for task in registry.tasks():
        texts = {hash_text(row.text) for row in rows if row.task == task}
        # What was learnt from rows that are gone is found by the versions' own lists.
        also = selection if selection.task in ("", task) else None
        if texts or also:
            is_forgotten, delete = texts.__contains__, registry.delete
            yield from withdraw_versions(registry, state, task, is_forgotten, delete, selection=also)


def _block(state: State, task: str, rows: Sequence[Forgotten]) -> bool:
    return block_certificates(state, task, [row.at for row in rows if row.task == task and row.is_held_out])


def _blank(state: State, tasks: Set[str]) -> None:
    """Delete the templates of tasks of which nothing is left to learn from: they are a user's words, too."""
    for task in tasks:
        state.tasks.blank(task)
        state.templates.forget(task)


def _list_emptied(home: Home, parts: PartsRemoval | None, found: Sequence[Forgotten]) -> set[str]:
    """Return the tasks that certainly have no row but those that are `found`."""
    held = _count_left(home, parts)
    return {task for task, rows in Counter(row.task for row in found).items() if held[task] <= rows}


def _count_left(home: Home, parts: PartsRemoval | None) -> Counter[str]:
    """Return how many rows each task has, or more."""
    held = Counter[str]()
    for counts in (HarvestReader(home.harvest).counts(), parts.count_rows() if parts else {}):
        held.update({task: each.training + each.held_out + each.exported for task, each in counts.items()})
    return held


def _list_holders(*, has_parts: bool, is_alone: bool) -> tuple[str, ...]:
    if not has_parts:
        return NOT_OURS
    return (*NOT_OURS, OLD_FILES, *((OTHER_MACHINES,) if is_alone else ()))


def forget_decisions(state: State, selection: Selection, requests: Set[str]) -> tuple[int, bool]:
    """Delete the records of `requests`; of a whole tenant or caller, those of all that it asked.

    Returns how many, and whether every trace of them is gone.
    """
    owner, is_owner_alone = (selection.tenant, selection.caller), _names_owner_alone(selection)

    def is_wanted(record: DecisionRecord) -> bool:
        row = record.row
        if row.request_id in requests:
            return True
        theirs = (selection.tenant and row.tenant, selection.caller and row.key)
        return is_owner_alone and owner == theirs

    return state.decisions.forget(is_wanted, LOG_LIMIT_S)


def _forget_owner(state: State, selection: Selection) -> None:
    """Delete the feedback of a whole tenant or caller, on requests without a row, too."""
    if _names_owner_alone(selection):
        state.reviews.forget_feedback(selection.tenant, selection.caller)


def _names_owner_alone(selection: Selection) -> bool:
    owner = Selection(tenant=selection.tenant, caller=selection.caller)
    return selection == owner != Selection()


def _find_exports(home: Home, rows: Sequence[Forgotten]) -> list[Export]:
    tasks, oldest = {row.task for row in rows}, min((row.at for row in rows), default=0.0)
    return [
        each
        for each in read_exports(home)
        if each.rows and each.at >= oldest and tasks.intersection(each.tasks)
    ]
