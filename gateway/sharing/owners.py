"""The owners of objects at the teacher: this machine's own on its disk, those of the others by asking."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from gateway.errors import RequestError
from gateway.sharing.base import AwayError
from gateway.sharing.outgoing import OWNERS, Change, Outgoing, decode_key
from gateway.sharing.valkey import Valkey
from gateway.store.database import Database
from gateway.store.objects import SHORT_LIVED, SHORT_LIVED_DAYS, ObjectStore

BATCH_OWNERS = 256
PATIENCE_S = 0.3
"""How long an object that was made a moment ago, on another machine, may take to be known here."""
RETRY_S = 0.05
_ADD = """
for i = 1, #KEYS do
  if ARGV[2 * i] == '0' then redis.call('SET', KEYS[i], ARGV[2 * i - 1], 'NX')
  else redis.call('SET', KEYS[i], ARGV[2 * i - 1], 'NX', 'EX', ARGV[2 * i]) end
end
"""


class SharedOwners:
    """The owners in Valkey. Every method raises AwayError."""

    def __init__(self, valkey: Valkey) -> None:
        self._valkey = valkey

    def find(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the tenants of `ids`; unknown ones are left out."""
        found = self._valkey.call("MGET", *(self._valkey.key("owner", one) for one in ids))
        return {one: owner.decode() for one, owner in zip(ids, found, strict=True) if owner is not None}

    def push(self, database: Database, outgoing: Outgoing) -> None:
        """Send the owners that wait; the first owner of an object stays."""
        while batch := outgoing.next_changes(BATCH_OWNERS, OWNERS):
            self._send(_read_owners(database, batch))
            with database.write() as connection:
                outgoing.remove(connection, batch)

    def send_again(self, database: Database) -> None:
        """Let every owner be sent once more, after the store lost them."""
        with database.write() as connection:
            connection.execute(
                f"INSERT INTO outgoing (kind, key) SELECT '{OWNERS}', json_array(id) FROM objects"  # noqa: S608
            )

    def _send(self, owners: Sequence[tuple[str, str, str]]) -> None:
        arguments: list[object] = []
        for _, kind, tenant in owners:
            arguments += [tenant, SHORT_LIVED_DAYS * 86_400 if kind in SHORT_LIVED else 0]
        self._valkey.run(_ADD, [self._valkey.key("owner", one) for one, _, _ in owners], arguments)


class FleetObjects:
    """The counterpart of ObjectStore for requests, where an object may have been made on any machine.

    See policy.ownership.OwnerStore. An object that is not known here is asked for: only requests that
    name one wait for that, in a thread.
    """

    def __init__(
        self, store: ObjectStore, owners: SharedOwners, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        self._store = store
        self._owners = owners
        self._sleep = sleep

    def find_owners(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the tenants of `ids`. Raises RequestError (503) where that cannot be known."""
        found = self._store.find_owners(ids)
        missing = [one for one in ids if one not in found]
        give_up_at = time.monotonic() + PATIENCE_S
        try:
            while missing:
                found |= self._owners.find(missing)
                missing = [one for one in missing if one not in found]
                if not missing or time.monotonic() > give_up_at:
                    break
                self._sleep(RETRY_S)
        except AwayError as exc:
            raise RequestError(
                "The gateway cannot look up the owner of this object at the moment; try again.",
                status=503,
                kind="server_error",
                code="objects_unreadable",
            ) from exc
        return found

    def add(self, objects: Iterable[tuple[str, str]], tenant: str) -> None:
        """Remember each (id, kind) as an object of `tenant`; never blocks."""
        self._store.add(objects, tenant)

    def flush(self) -> None:
        """Write what waits; it is sent from there."""
        self._store.flush()


def _read_owners(database: Database, batch: Sequence[Change]) -> list[tuple[str, str, str]]:
    found = []
    for change in batch:
        found += database.read("SELECT id, kind, tenant FROM objects WHERE id = ?", decode_key(change.key))
    return [(row[0], row[1], row[2]) for row in found]
