"""Named tokens for the admin plane; of their secrets only hashes are stored."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from typing import Literal

import msgspec

from gateway.errors import ConfigError
from gateway.store.database import Database

PREFIX = "sda-"
LONGEST_NAME = 64
SHORTEST_SECRET = 32
"""Of a secret that was made elsewhere, without its prefix; 24 random bytes in hex have 48."""

Role = Literal["view", "content", "operate"]
"""`view`: figures and decisions without texts. `content`: texts of requests and answers too. `operate`:
change what serves. Every token may view; `content` and `operate` do not include each other."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS admin_tokens (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    roles TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    created_at REAL NOT NULL,
    expires_at REAL,
    revoked_at REAL
);
"""
_TOKENS = "SELECT id, name, roles, created_at, expires_at, revoked_at FROM admin_tokens"


class AdminToken(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of one token. Times are unix seconds."""

    id: str
    name: str
    roles: tuple[Role, ...]
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None

    def state_at(self, now: float) -> str:
        """Return "valid", "expired" or "revoked"."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"

    def allows(self, role: Role) -> bool:
        """Whether its holder may do what `role` stands for."""
        return role == "view" or role in self.roles


class AdminTokens:
    """Creates, lists, revokes and finds tokens. Every method may block."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        database.create(_SCHEMA)

    def create(
        self, name: str, roles: tuple[Role, ...], expires_at: float | None = None, secret: str = ""
    ) -> tuple[AdminToken, str]:
        """Return a new token and its secret, which is stored nowhere; made here unless `secret` is given.

        Raises ConfigError for a name that cannot be one, or that another valid token has, and for a
        secret that is none, or was a token's before.
        """
        name = name.strip()
        if not name or len(name) > LONGEST_NAME or not name.isprintable():
            raise ConfigError(f"a token needs a name of 1 to {LONGEST_NAME} printable characters (--name)")
        now, plain = self._clock(), secret or PREFIX + secrets.token_urlsafe(32)
        if secret:
            _check_secret(secret)
        token = AdminToken(
            id="token-" + secrets.token_hex(4), name=name, roles=roles, created_at=now, expires_at=expires_at
        )
        with self._database.write() as connection:
            taken = [one for one in self.all() if one.name == name and one.state_at(now) == "valid"]
            if taken:
                raise ConfigError(f"a valid token is named '{name}' already: {taken[0].id}; revoke it first")
            if self._database.read(f"{_TOKENS} WHERE hash = ?", (_hash_secret(plain),)):
                raise ConfigError(
                    "this token was revoked or has expired, or has another name or role; make a new one"
                )
            connection.execute(
                "INSERT INTO admin_tokens VALUES (?, ?, ?, ?, ?, ?, NULL)",
                (token.id, name, " ".join(roles), _hash_secret(plain), now, expires_at),
            )
        return token, plain

    def all(self) -> list[AdminToken]:
        """Return every token, expired and revoked ones too, oldest first."""
        return [_read_token(row) for row in self._database.read(f"{_TOKENS} ORDER BY created_at, id")]

    def find_secret(self, plain: str) -> AdminToken | None:
        """Return the valid token with that secret, None if there is none."""
        rows = self._database.read(f"{_TOKENS} WHERE hash = ?", (_hash_secret(plain),))
        token = _read_token(rows[0]) if rows else None
        return token if token and token.state_at(self._clock()) == "valid" else None

    def revoke(self, id_or_name: str) -> AdminToken:
        """Refuse a token from now on. Raises ConfigError if none that is not revoked is called so."""
        for token in self.all():
            if id_or_name in (token.id, token.name) and token.revoked_at is None:
                break
        else:
            raise ConfigError(f"no valid token is called '{id_or_name}'; see `stepdown admin tokens list`")
        with self._database.write() as connection:
            connection.execute(
                "UPDATE admin_tokens SET revoked_at = ? WHERE id = ?", (self._clock(), token.id)
            )
        return token


def _check_secret(secret: str) -> None:
    body = secret.removeprefix(PREFIX)
    if body == secret or len(body) < SHORTEST_SECRET or not (body.isascii() and body.isprintable()):
        raise ConfigError(
            f"a token is {PREFIX} and at least {SHORTEST_SECRET} random printable ASCII characters"
        )


def _hash_secret(plain: str) -> str:
    # Plain sha256 is enough: a secret holds 256 random bits, too many to guess.
    return hashlib.sha256(plain.encode()).hexdigest()


def _read_token(row: tuple[str, str, str, float, float | None, float | None]) -> AdminToken:
    token_id, name, roles, created_at, expires_at, revoked_at = row
    return AdminToken(
        id=token_id,
        name=name,
        roles=msgspec.convert(roles.split(), tuple[Role, ...]),
        created_at=created_at,
        expires_at=expires_at,
        revoked_at=revoked_at,
    )
