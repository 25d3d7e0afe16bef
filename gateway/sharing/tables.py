"""The tables that every machine has a copy of, and what holds when two changed a row at once."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from gateway.core import Certificate, Certification

Row = dict[str, Any]
"""A row by its columns."""
Merge = Callable[[Row | None, Row | None], Row | None]
"""Returns what holds of two rows that were changed without knowledge of each other; None is a deleted one.

It must not matter which comes first, and a row merged with itself must be itself.
"""


class SharedTable(msgspec.Struct, frozen=True, kw_only=True):
    """One table: its key, its other columns, and how two changes become one."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    """Without those of the key."""
    merge: Merge
    is_numbered: bool = False
    """Whether a column `revision` tells the processes of this machine what has changed."""
    after: str = ""
    """A statement that tells them so."""
    events: tuple[str, ...] = ("INSERT", "UPDATE", "DELETE")
    """The changes that the others must know. With UPDATE alone, rows that were never changed are not sent."""

    @property
    def all_columns(self) -> tuple[str, ...]:
        """The key's first."""
        return self.key + self.columns

    def read(self, connection: sqlite3.Connection, key: Sequence[object]) -> Row | None:
        """Return the row with that key."""
        where = " AND ".join(f"{name} = ?" for name in self.key)
        query = f"SELECT {', '.join(self.all_columns)} FROM {self.name} WHERE {where}"  # noqa: S608
        found = connection.execute(query, tuple(key)).fetchone()
        return dict(zip(self.all_columns, found, strict=True)) if found else None

    def write(self, connection: sqlite3.Connection, key: Sequence[object], row: Row | None) -> None:
        """Let `row` be the one with that key; None deletes it."""
        if row is None:
            where = " AND ".join(f"{name} = ?" for name in self.key)
            connection.execute(f"DELETE FROM {self.name} WHERE {where}", tuple(key))  # noqa: S608
        else:
            names = [*self.all_columns]
            places = ["?"] * len(names)
            if self.is_numbered:
                names.append("revision")
                places.append(f"(SELECT coalesce(max(revision), 0) + 1 FROM {self.name})")  # noqa: S608
            changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in self.key)
            connection.execute(
                f"INSERT INTO {self.name} ({', '.join(names)}) VALUES ({', '.join(places)}) "  # noqa: S608
                f"ON CONFLICT ({', '.join(self.key)}) "
                + (f"DO UPDATE SET {changes}" if changes else "DO NOTHING"),
                [row[name] for name in self.all_columns],
            )
        if self.after:
            connection.execute(self.after)


def revoke_if_either(mine: Row | None, theirs: Row | None) -> Row | None:
    """A key that either has revoked is revoked."""
    return _earliest(mine, theirs, "revoked_at")


def end_at_the_earlier(mine: Row | None, theirs: Row | None) -> Row | None:
    """A secret ends when the first of them said."""
    return _earliest(mine, theirs, "valid_until")


def freeze_if_either(mine: Row | None, theirs: Row | None) -> Row | None:
    """A task that either has frozen is frozen: the teacher answers, which is never wrong."""
    if mine is None or theirs is None:
        return mine or theirs
    return min(mine, theirs, key=lambda row: (row["at"], row["note"]))


def pin_if_either(mine: Row | None, theirs: Row | None) -> Row | None:
    """A task that either has pinned is pinned: what drafts stays."""
    return mine or theirs


def keep_latest_epoch(mine: Row | None, theirs: Row | None) -> Row | None:
    """An alarm is acknowledged up to the later one of both."""
    if mine is None or theirs is None:
        return mine or theirs
    return max(mine, theirs, key=lambda row: (row["epoch"], row["at"], row["note"]))


def withdraw_if_either(mine: Row | None, theirs: Row | None) -> Row | None:
    """An alarm or a withdrawal of either holds; what was certified without knowledge of it does not."""
    if mine is None or theirs is None:
        return mine or theirs
    read = [(msgspec.json.decode(row["body"], type=Certification), row) for row in (mine, theirs)]
    # Of one epoch the one without a version: what another machine withdrew may be deleted already.
    read.sort(key=lambda pair: (pair[1]["epoch"], pair[0].version is None, pair[1]["body"]))
    (first, older), (second, newer) = read
    if older["epoch"] != newer["epoch"] or older == newer or second.version is None:
        return newer
    alarmed = {(each.stratum, each.target): each for each in first.certificates if each.stage == "alarm"}

    def more_careful(each: Certificate) -> Certificate:
        return each if each.stage != "live" else alarmed.get((each.stratum, each.target), each)

    careful = msgspec.structs.replace(second, certificates=tuple(map(more_careful, second.certificates)))
    return {**newer, "body": msgspec.json.encode(careful).decode()}


def separate_if_either(mine: Row | None, theirs: Row | None) -> Row | None:
    """A near copy that proved to be another task anywhere is one; who forgot it has forgotten it for all."""
    if mine is None or theirs is None:
        return None
    return max(mine, theirs, key=lambda row: (row["status"] == "separate", -row["at"]))


def keep_the_first(mine: Row | None, theirs: Row | None) -> Row | None:
    """Of two adoptions the first counts; the one that was blanked stays blank."""
    if mine is None or theirs is None:
        return mine or theirs
    return min(mine, theirs, key=lambda row: (bool(row["template_text"]), row["adopted_at"], row["vector"]))


def keep_the_lesser_name(mine: Row | None, theirs: Row | None) -> Row | None:
    """Two names given at once: either will do, if all choose the same."""
    if mine is None or theirs is None:
        return mine or theirs
    return min(mine, theirs, key=lambda row: row["name"])


def keep_the_lesser_owner(mine: Row | None, theirs: Row | None) -> Row | None:
    """Two operators claimed an object at once: either will do, if all choose the same."""
    if mine is None or theirs is None:
        return mine or theirs
    return min(mine, theirs, key=lambda row: (row["tenant"], row["at"]))


def keep_the_deleted(mine: Row | None, theirs: Row | None) -> Row | None:
    """Each row has one writer, and is deleted once all machines need it no more."""
    if mine is None or theirs is None:
        return None
    return max(mine, theirs, key=lambda row: sorted((name, str(value)) for name, value in row.items()))


def keep_the_further(mine: Row | None, theirs: Row | None) -> Row | None:
    """A machine that says two things of its work is as far as the further one; what is deleted is over."""
    if mine is None or theirs is None:
        return None
    return max(mine, theirs, key=lambda row: (row["is_done"], row["traces"], row["body"]))


def keep_the_present(mine: Row | None, theirs: Row | None) -> Row | None:
    """A machine that is retired and comes back at once is there."""
    if mine is None or theirs is None:
        return mine or theirs
    return max(mine, theirs, key=lambda row: (row["joined_at"], row["host"]))


def _earliest(mine: Row | None, theirs: Row | None, column: str) -> Row | None:
    if mine is None or theirs is None:
        return mine or theirs
    ends = [row[column] for row in (mine, theirs) if row[column] is not None]
    return {**min(mine, theirs, key=lambda row: row["created_at"]), column: min(ends, default=None)}


_KEYS_CHANGED = "UPDATE key_changes SET count = count + 1"

TABLES = {
    table.name: table
    for table in (
        # Secrets before their keys: a key is only found once both are there, whichever comes first.
        SharedTable(
            name="key_secrets", key=("hash",), columns=("key_id", "created_at", "valid_until"),
            merge=end_at_the_earlier, after=_KEYS_CHANGED,
        ),
        SharedTable(
            name="gateway_keys", key=("id",), columns=("name", "tenant", "terms", "created_at", "revoked_at"),
            merge=revoke_if_either, after=_KEYS_CHANGED,
        ),
        SharedTable(name="freezes", key=("task",), columns=("at", "note"), merge=freeze_if_either),
        SharedTable(name="pins", key=("task",), columns=(), merge=pin_if_either),
        SharedTable(
            name="seen_alarms", key=("task",), columns=("epoch", "at", "note"), merge=keep_latest_epoch
        ),
        SharedTable(
            name="certifications", key=("task",), columns=("epoch", "body"), merge=withdraw_if_either
        ),
        SharedTable(
            name="tasks", key=("task",),
            columns=("scope", "contract_hash", "template_text", "vector", "model", "adopted_at"),
            merge=keep_the_first, is_numbered=True,
        ),
        SharedTable(
            name="task_names", key=("task",), columns=("scope", "name"), merge=keep_the_lesser_name,
            is_numbered=True,
        ),
        SharedTable(
            name="templates", key=("task", "copy"), columns=("status", "at"), merge=separate_if_either
        ),
        # Of objects at the teacher only those that an operator claimed: a new one is asked for.
        SharedTable(
            name="objects", key=("id",), columns=("kind", "tenant", "at"), merge=keep_the_lesser_owner,
            events=("UPDATE",),
        ),
        SharedTable(
            name="machines", key=("machine",), columns=("host", "joined_at"), merge=keep_the_present
        ),
        SharedTable(name="former_audit_keys", key=("key",), columns=(), merge=pin_if_either),
        SharedTable(
            name="forgets", key=("id",), columns=("machine", "at", "selection"), merge=keep_the_deleted
        ),
        SharedTable(
            name="forget_traces", key=("forget", "machine", "part"), columns=("ids", "body"),
            merge=keep_the_deleted,
        ),
        SharedTable(
            name="forget_receipts", key=("forget", "machine"), columns=("is_done", "traces", "body"),
            merge=keep_the_further,
        ),
    )
}  # fmt: skip
"""By name."""
