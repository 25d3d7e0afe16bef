"""The gateway's own keys; of their secrets only hashes are stored."""

from __future__ import annotations

import hashlib
import logging
import secrets
import sqlite3
import time
from collections.abc import Callable

import msgspec

from gateway.core import Grant, Limits
from gateway.errors import ConfigError
from gateway.store.database import Database
from gateway.store.key_tables import KeyTerms, create_key_tables, note_key_change

logger = logging.getLogger(__name__)

PREFIX = "sd-"
LONGEST_NAME = 64
_KEYS = "SELECT id, name, tenant, terms, created_at, revoked_at FROM gateway_keys"


class KeyFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of one key. Times are unix seconds."""

    id: str
    name: str
    """The name of its holder: in policies, in the ledger, in metrics."""
    tenant: str
    """The owner of its requests' data."""
    is_trusted: bool = False
    """Whether its holder sees scores and thresholds."""
    may_force_local: bool = False
    """Whether its holder may ask for a specialist's answer whatever the certificate says."""
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    grant: Grant = Grant()
    limits: Limits = Limits()

    def state_at(self, now: float) -> str:
        """Return "valid", "expired" or "revoked"."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"


class KeySecret(msgspec.Struct, frozen=True):
    """One secret of a key, found by its hash; after a rotation a key may have two for a while."""

    key: KeyFacts
    valid_until: float | None


class KeyStore:
    """Creates, rotates and revokes keys, and finds them by hash without touching the disk."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._seen: tuple[int, int] | None = None
        self._changes = -1
        self._by_hash: dict[str, KeySecret] = {}
        self.read_at = 0.0
        """When the last `refresh` succeeded, in monotonic seconds."""
        create_key_tables(database)
        self.refresh()

    def find_by_hash(self, key_hash: str) -> KeyFacts | None:
        """Return the valid key with that hash, see `hash_key`; None if there is none. Never blocks."""
        secret = self._by_hash.get(key_hash)
        if secret is None:
            return None
        ends = [at for at in (secret.valid_until, secret.key.expires_at) if at is not None]
        return None if ends and min(ends) <= self._clock() else secret.key

    def create(self, name: str, *, tenant: str = "", terms: KeyTerms | None = None) -> tuple[str, str]:
        """Return the id and the secret of a new key; the secret is stored nowhere.

        Without a `tenant` the key is one of its own, called as its name. Raises ConfigError for an empty
        name, or one that another valid key has.
        """
        name = name.strip()
        if not name or len(name) > LONGEST_NAME or not name.isprintable():
            raise ConfigError(f"a key needs a name of 1 to {LONGEST_NAME} printable characters (--name)")
        key_id = "key-" + secrets.token_hex(4)
        now = self._clock()
        encoded = msgspec.json.encode(terms or KeyTerms()).decode()
        with self._database.write() as connection:
            self._refuse_duplicate(connection, name)
            connection.execute(
                "INSERT INTO gateway_keys VALUES (?, ?, ?, ?, ?, NULL)",
                (key_id, name, tenant or name, encoded, now),
            )
            plain = self._add_secret(connection, key_id)
        self.refresh()
        return key_id, plain

    def rotate(self, key_id: str, overlap_s: float) -> str:
        """Return a new secret of the key; those before it stay valid for `overlap_s` more seconds.

        Raises ConfigError if the key is not valid any more.
        """
        now = self._clock()
        with self._database.write() as connection:
            self._find_valid(connection, key_id)
            connection.execute(
                "UPDATE key_secrets SET valid_until = ? "
                "WHERE key_id = ? AND (valid_until IS NULL OR valid_until > ?)",
                (now + overlap_s, key_id, now + overlap_s),
            )
            plain = self._add_secret(connection, key_id)
        self.refresh()
        return plain

    def change(self, key_id: str, terms: KeyTerms) -> None:
        """Give a key other terms; requests under way go on by the old ones, websockets follow.

        Raises ConfigError if the key is not valid any more.
        """
        with self._database.write() as connection:
            self._find_valid(connection, key_id)
            connection.execute(
                "UPDATE gateway_keys SET terms = ? WHERE id = ?",
                (msgspec.json.encode(terms).decode(), key_id),
            )
            note_key_change(connection)
        self.refresh()

    def revoke(self, key_id: str) -> bool:
        """Refuse the key from now on; False if no key that is not revoked has that id."""
        with self._database.write() as connection:
            changed = connection.execute(
                "UPDATE gateway_keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL",
                (self._clock(), key_id),
            ).rowcount
            note_key_change(connection)
        self.refresh()
        return changed == 1

    def all(self) -> list[KeyFacts]:
        """Return every key, expired and revoked ones too, oldest first."""
        rows = self._database.read(f"{_KEYS} ORDER BY created_at, id")
        return [key for row in rows if (key := _read_key(row)) is not None]

    def find(self, id_or_name: str) -> KeyFacts | None:
        """Return the key with that id, else the newest with that name, a valid one before others."""
        now = self._clock()
        keys = self.all()
        for key in keys:
            if key.id == id_or_name:
                return key
        named = [key for key in keys if key.name == id_or_name]
        return max(named, key=lambda key: (key.state_at(now) == "valid", key.created_at), default=None)

    def count_secrets(self, key_id: str) -> int:
        """Return how many secrets of a key are valid now: 2 and more while a rotation overlaps."""
        query = (
            "SELECT count(*) FROM key_secrets WHERE key_id = ? AND (valid_until IS NULL OR valid_until > ?)"
        )
        return int(self._database.read(query, (key_id, self._clock()))[0][0])

    def refresh(self) -> None:
        """Read what other processes changed; may block. Costs microseconds while no key has changed."""
        version = self._database.data_version()
        if version != self._seen:
            changes = self._database.read("SELECT count FROM key_changes")[0][0]
            if changes != self._changes:
                self._by_hash = self._read_secrets()
            self._seen, self._changes = version, changes
        self.read_at = time.monotonic()

    def _read_secrets(self) -> dict[str, KeySecret]:
        rows = self._database.read(f"{_KEYS} WHERE revoked_at IS NULL")
        keys = {key.id: key for row in rows if (key := _read_key(row)) is not None}
        found = self._database.read("SELECT hash, key_id, valid_until FROM key_secrets")
        return {key_hash: KeySecret(keys[key], until) for key_hash, key, until in found if key in keys}

    def _add_secret(self, connection: sqlite3.Connection, key_id: str) -> str:
        plain = PREFIX + secrets.token_urlsafe(32)
        connection.execute(
            "INSERT INTO key_secrets VALUES (?, ?, ?, NULL)",
            (hash_key(plain.encode()), key_id, self._clock()),
        )
        note_key_change(connection)
        return plain

    def _refuse_duplicate(self, connection: sqlite3.Connection, name: str) -> None:
        now = self._clock()
        for row in connection.execute(f"{_KEYS} WHERE name = ?", (name,)):
            key = _read_key(row)
            if key is not None and key.state_at(now) == "valid":
                raise ConfigError(
                    f"a valid key is named '{name}' already: {key.id}; rotate or revoke it first"
                )

    def _find_valid(self, connection: sqlite3.Connection, key_id: str) -> None:
        row = connection.execute(f"{_KEYS} WHERE id = ?", (key_id,)).fetchone()
        key = _read_key(row) if row else None
        if key is None or key.state_at(self._clock()) != "valid":
            raise ConfigError(f"no valid key has the id '{key_id}'; see `stepdown keys list`")


def hash_key(plain: bytes) -> str:
    """Return the hex hash by which a key is found.

    Plain sha256 is enough: a key holds 256 random bits, too many to guess.
    """
    return hashlib.sha256(plain).hexdigest()


def may_be_key(plain: bytes) -> bool:
    """Return whether a text has the form of a key; anything else need not be looked for."""
    return plain.startswith(PREFIX.encode()) and len(plain) == len(PREFIX) + 43


_KeyRow = tuple[str, str, str, str, float, float | None]


def _read_key(row: _KeyRow) -> KeyFacts | None:
    """Return the key of a row; None, and a line in the log, if a newer version wrote what we cannot read."""
    key_id, name, tenant, encoded, created_at, revoked_at = row
    try:
        terms = msgspec.json.decode(encoded, type=KeyTerms)
    except msgspec.DecodeError as exc:
        logger.error("key %s is refused, its terms cannot be read: %s", key_id, exc)
        return None
    return KeyFacts(
        id=key_id,
        name=name,
        tenant=tenant,
        is_trusted=terms.is_trusted,
        may_force_local=terms.may_force_local,
        created_at=created_at,
        expires_at=terms.expires_at,
        revoked_at=revoked_at,
        grant=terms.grant,
        limits=terms.limits,
    )
