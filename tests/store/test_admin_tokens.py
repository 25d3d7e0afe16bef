"""Tokens of the admin plane."""

from __future__ import annotations

import pytest

from gateway.errors import ConfigError
from gateway.store.admin_tokens import AdminTokens
from gateway.store.database import Database


def test_a_token_is_found_by_its_secret_which_is_stored_nowhere(database: Database) -> None:
    tokens = AdminTokens(database)
    token, plain = tokens.create("grafana", ("view",))

    assert tokens.find_secret(plain) == token
    assert tokens.find_secret(plain[:-1]) is None
    stored = database.read("SELECT * FROM admin_tokens")
    assert plain not in repr(stored)


def test_every_token_may_view_and_only_what_it_was_given_beyond(database: Database) -> None:
    token, _ = AdminTokens(database).create("ops", ("operate",))

    assert [token.allows(role) for role in ("view", "content", "operate")] == [True, False, True]


def test_a_token_ends_when_it_is_revoked_or_its_time_is_over(database: Database) -> None:
    now = 1_000.0
    tokens = AdminTokens(database, clock=lambda: now)
    _, short = tokens.create("short", ("view",), expires_at=1_100.0)
    _, revoked = tokens.create("revoked", ("view",))
    tokens.revoke("revoked")

    assert tokens.find_secret(revoked) is None
    assert tokens.find_secret(short) is not None
    now = 1_100.0
    assert tokens.find_secret(short) is None
    assert [one.state_at(now) for one in tokens.all()].count("valid") == 0


def test_a_name_is_that_of_one_valid_token(database: Database) -> None:
    tokens = AdminTokens(database)
    tokens.create("ops", ("view",))

    with pytest.raises(ConfigError, match="is named 'ops' already"):
        tokens.create("ops", ("operate",))
    tokens.revoke("ops")
    tokens.create("ops", ("operate",))


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 65])
def test_a_name_must_be_readable(database: Database, name: str) -> None:
    with pytest.raises(ConfigError):
        AdminTokens(database).create(name, ("view",))


SHARED = "sda-" + "0123456789abcdef" * 3


def test_a_secret_that_was_made_elsewhere_lets_its_holder_in(database: Database) -> None:
    tokens = AdminTokens(database)
    token, plain = tokens.create("prometheus", ("view",), secret=SHARED)

    assert plain == SHARED
    assert tokens.find_secret(SHARED) == token


@pytest.mark.parametrize("secret", ["sda-", SHARED[:20], SHARED.removeprefix("sda-"), SHARED + "ä"])
def test_what_could_be_guessed_is_no_secret(database: Database, secret: str) -> None:
    with pytest.raises(ConfigError, match="at least 32"):
        AdminTokens(database).create("prometheus", ("view",), secret=secret)


def test_a_secret_that_was_revoked_does_not_come_back(database: Database) -> None:
    tokens = AdminTokens(database)
    tokens.create("prometheus", ("view",), secret=SHARED)
    tokens.revoke("prometheus")

    with pytest.raises(ConfigError, match="was revoked"):
        tokens.create("prometheus", ("view",), secret=SHARED)
