"""Gateway keys: found by hash, gone once revoked, stored without the plain text."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.core import Grant, Limits
from gateway.errors import ConfigError
from gateway.store.database import Database
from gateway.store.key_tables import KeyTerms
from gateway.store.keys import KeyStore, hash_key, may_be_key


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def finds(keys: KeyStore, secret: str) -> bool:
    return keys.find_by_hash(hash_key(secret.encode())) is not None


def test_a_created_key_is_found_by_its_hash(database: Database) -> None:
    keys = KeyStore(database, clock=lambda: 5.0)

    key_id, plain = keys.create("web shop", terms=KeyTerms(is_trusted=True))

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


def test_a_key_keeps_its_terms(database: Database, other_process: Database) -> None:
    terms = KeyTerms(grant=Grant(models=("gpt-4o*",)), limits=Limits(usd_per_day=2.0), expires_at=9e9)
    key_id, _ = KeyStore(database).create("web shop", tenant="shop", terms=terms)

    (key,) = KeyStore(other_process).all()

    assert (key.id, key.tenant, key.grant, key.limits) == (key_id, "shop", terms.grant, terms.limits)
    assert key.expires_at == 9e9


@pytest.mark.parametrize("name", ["", "   ", "x" * 65, "two\nlines"])
def test_a_key_without_a_usable_name_is_refused(database: Database, name: str) -> None:
    with pytest.raises(ConfigError, match="needs a name"):
        KeyStore(database).create(name)


def test_two_valid_keys_never_share_a_name(database: Database, other_process: Database) -> None:
    keys = KeyStore(database)
    key_id, _ = keys.create("web shop")

    with pytest.raises(ConfigError, match=f"named 'web shop' already: {key_id}"):
        KeyStore(other_process).create(" web shop ")

    keys.revoke(key_id)
    keys.create("web shop")


def test_the_name_of_an_expired_key_is_free_again(database: Database) -> None:
    clock = Clock()
    keys = KeyStore(database, clock)
    keys.create("web shop", terms=KeyTerms(expires_at=2_000.0))
    clock.now = 2_000.0

    new_id, _ = keys.create("web shop")

    assert [key.state_at(clock.now) for key in keys.all()] == ["expired", "valid"]
    found = keys.find("web shop")
    assert found is not None
    assert found.id == new_id


def test_a_key_is_found_until_the_moment_when_it_expires(database: Database) -> None:
    clock = Clock()
    keys = KeyStore(database, clock)
    _, secret = keys.create("web shop", terms=KeyTerms(expires_at=2_000.0))
    clock.now = 1_999.9
    assert finds(keys, secret)

    clock.now = 2_000.0

    assert not finds(keys, secret)


def test_a_rotated_key_has_two_secrets_until_the_overlap_ends(database: Database) -> None:
    """The holder stays the same: id, name, tenant, limits."""
    clock = Clock()
    keys = KeyStore(database, clock)
    key_id, old = keys.create("web shop")

    new = keys.rotate(key_id, overlap_s=3_600.0)

    assert keys.find_by_hash(hash_key(old.encode())) == keys.find_by_hash(hash_key(new.encode()))
    assert keys.count_secrets(key_id) == 2
    clock.now += 3_600.0
    assert (finds(keys, old), finds(keys, new)) == (False, True)


def test_a_second_rotation_may_end_the_overlap_of_the_first(database: Database) -> None:
    keys = KeyStore(database, Clock())
    key_id, first = keys.create("web shop")
    second = keys.rotate(key_id, overlap_s=3_600.0)

    third = keys.rotate(key_id, overlap_s=0.0)

    assert [finds(keys, secret) for secret in (first, second, third)] == [False, False, True]


def test_a_revoked_key_cannot_be_rotated(database: Database) -> None:
    keys = KeyStore(database)
    key_id, _ = keys.create("web shop")
    keys.revoke(key_id)

    with pytest.raises(ConfigError, match="no valid key"):
        keys.rotate(key_id, overlap_s=0.0)


def test_revoking_ends_every_secret(database: Database) -> None:
    keys = KeyStore(database)
    key_id, old = keys.create("web shop")
    new = keys.rotate(key_id, overlap_s=3_600.0)

    keys.revoke(key_id)

    assert not finds(keys, old)
    assert not finds(keys, new)


OLD_TABLE = """
CREATE TABLE keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, tenant TEXT NOT NULL, hash TEXT NOT NULL UNIQUE,
    is_trusted INTEGER NOT NULL, may_force_local INTEGER NOT NULL, created_at REAL NOT NULL, revoked_at REAL
);
"""


def test_the_keys_of_an_older_version_move_into_the_new_tables(
    database: Database, other_process: Database
) -> None:
    """Names were optional then. An older version afterwards finds no keys, and refuses all."""
    database.create(OLD_TABLE)
    with database.write() as connection:
        rows = [
            ("key-1", "app", "shop", hash_key(b"sd-1"), 1, 0, 5.0, None),
            ("key-2", "", "key-2", hash_key(b"sd-2"), 0, 1, 6.0, None),
            ("key-3", "gone", "gone", hash_key(b"sd-3"), 0, 0, 7.0, 8.0),
        ]
        connection.executemany("INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    keys = KeyStore(database)
    KeyStore(other_process)

    assert [(key.id, key.name, key.tenant, key.revoked_at) for key in keys.all()] == [
        ("key-1", "app", "shop", None),
        ("key-2", "key-2", "key-2", None),
        ("key-3", "gone", "gone", 8.0),
    ]
    found = [keys.find_by_hash(hash_key(secret)) for secret in (b"sd-1", b"sd-2", b"sd-3")]
    assert [key and (key.is_trusted, key.may_force_local) for key in found] == [
        (True, False),
        (False, True),
        None,
    ]
    assert not database.read("SELECT 1 FROM sqlite_master WHERE name = 'keys'")


def test_a_key_that_cannot_be_read_is_refused_and_stops_no_other(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    keys = KeyStore(database)
    broken, broken_secret = keys.create("broken")
    other, secret = keys.create("web shop")
    with database.write() as connection:
        connection.execute("UPDATE gateway_keys SET terms = '{' WHERE id = ?", (broken,))

    keys.revoke(other)
    keys.create("new")

    assert not finds(keys, broken_secret)
    assert not finds(keys, secret)
    assert broken in caplog.text


def test_what_is_not_a_key_is_known_by_its_form(database: Database) -> None:
    _, secret = KeyStore(database).create("web shop")

    assert may_be_key(secret.encode())
    assert not may_be_key(b"sk-proj-123")
    assert not may_be_key(b"sd-")
