"""Gateway keys: found by hash, gone once revoked, stored without the plain text."""

from __future__ import annotations

from pathlib import Path

from gateway.store.database import Database
from gateway.store.keys import KeyStore, hash_key


def test_a_created_key_is_found_by_its_hash(database: Database) -> None:
    keys = KeyStore(database, clock=lambda: 5.0)

    key_id, plain = keys.create("web shop", is_trusted=True)

    found = keys.find_by_hash(hash_key(plain.encode()))
    assert found is not None
    assert (found.id, found.name, found.is_trusted, found.created_at) == (key_id, "web shop", True, 5.0)


def test_the_plain_key_is_not_on_disk(database: Database, path: Path) -> None:
    _, plain = KeyStore(database).create("web shop")

    on_disk = b"".join(file.read_bytes() for file in path.parent.iterdir())

    assert plain.encode() not in on_disk


def test_a_revoked_key_is_not_found(database: Database) -> None:
    keys = KeyStore(database)
    key_id, plain = keys.create("web shop")

    assert keys.revoke(key_id)

    assert keys.find_by_hash(hash_key(plain.encode())) is None


def test_a_revoked_key_is_still_listed(database: Database) -> None:
    keys = KeyStore(database, clock=lambda: 5.0)
    key_id, _ = keys.create("web shop")

    keys.revoke(key_id)

    assert [(key.id, key.revoked_at) for key in keys.all()] == [(key_id, 5.0)]


def test_only_a_valid_key_can_be_revoked(database: Database) -> None:
    """To revoke twice, or an unknown key, returns False."""
    keys = KeyStore(database)
    key_id, _ = keys.create("web shop")
    keys.revoke(key_id)

    assert (keys.revoke(key_id), keys.revoke("key-unknown")) == (False, False)


def test_a_refresh_shows_what_another_process_created(database: Database, other_process: Database) -> None:
    keys = KeyStore(database)
    _, plain = KeyStore(other_process).create("web shop")
    before = keys.find_by_hash(hash_key(plain.encode()))

    keys.refresh()

    assert before is None
    assert keys.find_by_hash(hash_key(plain.encode())) is not None
