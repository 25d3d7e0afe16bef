"""The gateway's own keys, stored as hashes only."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable

import msgspec

from gateway.store.database import Database

PREFIX = "sd-"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    tenant TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    is_trusted INTEGER NOT NULL,
    may_force_local INTEGER NOT NULL,
    created_at REAL NOT NULL,
    revoked_at REAL
);
"""


class KeyFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of one key. `is_trusted` callers see scores and thresholds. Times are unix seconds."""

    id: str
    name: str
    tenant: str
    """The owner of its requests' data."""
    is_trusted: bool
    may_force_local: bool
    """Whether its holder may ask for a specialist's answer whatever the certificate says."""
    created_at: float
    revoked_at: float | None = None


class KeyStore:
    """Creates and revokes keys, and finds them by hash without touching the disk."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._seen: tuple[int, int] | None = None
        self._by_hash: dict[str, KeyFacts] = {}
        database.create(_SCHEMA)
        self.refresh()

    def find_by_hash(self, key_hash: str) -> KeyFacts | None:
        """Return the key with that hash (see `hash_key`), None if unknown or revoked. Never blocks."""
        return self._by_hash.get(key_hash)

    def create(
        self, name: str, *, tenant: str = "", is_trusted: bool = False, may_force_local: bool = False
    ) -> tuple[str, str]:
        """Return the id and the plain text of a new key; the plain text is stored nowhere.

        Without a `tenant` the key is one of its own, called as its name.
        """
        key_id = "key-" + secrets.token_hex(4)
        plain = PREFIX + secrets.token_urlsafe(32)
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
                (
                    key_id,
                    name,
                    tenant or name or key_id,
                    hash_key(plain.encode()),
                    is_trusted,
                    may_force_local,
                    self._clock(),
                ),
            )
        self.refresh()
        return key_id, plain

    def revoke(self, key_id: str) -> bool:
        """Refuse the key from now on; False if no valid key has that id."""
        with self._database.write() as connection:
            changed = connection.execute(
                "UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL",
                (self._clock(), key_id),
            ).rowcount
        self.refresh()
        return changed == 1

    def all(self) -> list[KeyFacts]:
        """Return every key, revoked ones too, oldest first."""
        return [_facts(row) for row in self._rows()]

    def refresh(self) -> None:
        """Read what other processes created and revoked; may block."""
        version = self._database.data_version()
        if version != self._seen:
            self._by_hash = {row[3]: _facts(row) for row in self._rows() if row[7] is None}
            self._seen = version

    def _rows(self) -> list[_KeyRow]:
        return self._database.read(
            "SELECT id, name, tenant, hash, is_trusted, may_force_local, created_at, revoked_at "
            "FROM keys ORDER BY created_at, id"
        )


def hash_key(plain: bytes) -> str:
    """Return the hex hash by which a key is found.

    Plain sha256 is enough: a key holds 256 random bits, too many to guess.
    """
    return hashlib.sha256(plain).hexdigest()


_KeyRow = tuple[str, str, str, str, int, int, float, float | None]


def _facts(row: _KeyRow) -> KeyFacts:
    key_id, name, tenant, _, is_trusted, may_force_local, created_at, revoked_at = row
    return KeyFacts(
        id=key_id,
        name=name,
        tenant=tenant,
        is_trusted=bool(is_trusted),
        may_force_local=bool(may_force_local),
        created_at=created_at,
        revoked_at=revoked_at,
    )
