"""Who is calling, decided from the headers alone: the body of a stranger is never read."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

from gateway.core import Header
from gateway.errors import RequestError

ClientMode = Literal["keys", "forward", "open"]

OPEN = "open"
"""The caller's id where everybody is admitted."""
TRUST_S = 3600.0
# About 100 bytes each; the oldest are forgotten first and simply earn their trust again.
MAX_TRUSTED = 100_000

_MISSING = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header using "
    "Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
)


class Key(Protocol):
    """What must be known of a gateway key."""

    @property
    def id(self) -> str:
        """What it is revoked by."""

    @property
    def name(self) -> str:
        """Whose key it is, as policies call its holder; may be empty."""

    @property
    def is_trusted(self) -> bool:
        """Whether its holder sees scores and thresholds."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who is calling. `is_trusted` callers may be answered locally; some see scores."""

    id: str
    is_trusted: bool
    sees_scores: bool = False
    credential: bytes = b""
    """Hash of a forwarded credential; empty where the gateway itself knows its callers."""


class Authenticator:
    """Admits callers: `keys` by gateway key, `forward` by what the teacher thinks of theirs, `open` all.

    `find_key` gets the sha256 hex of a key; `clock` returns monotonic seconds.
    """

    def __init__(
        self,
        mode: ClientMode,
        find_key: Callable[[str], Key | None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._mode = mode
        self._find_key = find_key
        self._clock = clock
        self._accepted_at: dict[bytes, float] = {}

    def authenticate(self, headers: tuple[Header, ...]) -> Caller:
        """Return the caller. Raises RequestError (401) which never repeats what was sent."""
        if self._mode == "open":
            return Caller(id=OPEN, is_trusted=True, sees_scores=True)
        sent = [value for name, value in headers if name == b"authorization"]
        if not sent:
            raise _unauthorised(_MISSING)
        if len(sent) > 1:
            # We would judge one of them, and the teacher perhaps another.
            raise _unauthorised("More than one Authorization header was sent.")
        return self._holder(sent[0]) if self._mode == "keys" else self._forwarded(sent[0])

    def observe_status(self, caller: Caller, status: int) -> None:
        """Learn from the teacher's `status` what it thinks of a forwarded credential.

        An answer to a caller who is trusted already proves nothing, a specialist may have
        given it: trust lasts an hour and is then earned anew.
        """
        if not caller.credential:
            return
        if status in (401, 403):
            self._accepted_at.pop(caller.credential, None)
        elif status < 400 and not caller.is_trusted:
            self._accepted_at[caller.credential] = self._clock()
            if len(self._accepted_at) > MAX_TRUSTED:
                del self._accepted_at[next(iter(self._accepted_at))]

    def _holder(self, authorization: bytes) -> Caller:
        scheme, _, key = authorization.strip().partition(b" ")
        if scheme.lower() != b"bearer" or not key.strip():
            raise _unauthorised(_MISSING)
        found = self._find_key(hashlib.sha256(key.strip()).hexdigest())
        if found is None:
            raise _unauthorised("Incorrect API key provided. Keys are made with `stepdown keys create`.")
        return Caller(id=found.name or found.id, is_trusted=True, sees_scores=found.is_trusted)

    def _forwarded(self, authorization: bytes) -> Caller:
        if not authorization.strip():
            raise _unauthorised(_MISSING)
        digest = hashlib.sha256(authorization)
        accepted_at = self._accepted_at.get(digest.digest())
        is_trusted = accepted_at is not None and self._clock() - accepted_at < TRUST_S
        # The name is short; trust hangs on the whole hash, which nobody can aim at.
        caller_id = f"fwd-{digest.hexdigest()[:12]}"
        return Caller(id=caller_id, is_trusted=is_trusted, credential=digest.digest())


def _unauthorised(message: str) -> RequestError:
    return RequestError(message, status=401, code="invalid_api_key")
