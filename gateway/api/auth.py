"""The caller of a request, found in its headers alone: the body of a stranger is never read."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from gateway.core import Header
from gateway.errors import RequestError
from gateway.store.keys import KeyFacts, hash_key, may_be_key

ClientMode = Literal["keys", "forward", "open"]
LookUp = Callable[[str], Awaitable[bool]]

OPEN = "open"
"""The caller's id in mode `open`, where every caller is admitted."""
TRUST_S = 3600.0
# About 100 bytes each; the oldest are forgotten first and simply earn their trust again.
MAX_TRUSTED = 100_000

_MISSING = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header using "
    "Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
)


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """The caller of a request. `is_trusted` callers may be answered locally; some see scores."""

    id: str
    is_trusted: bool
    tenant: str
    sees_scores: bool = False
    """Whether the operator vouches for it: it sees scores and audits."""
    may_force_local: bool = False
    credential: bytes = b""
    """Hash of a forwarded credential; empty where the gateway itself knows its callers."""
    key: KeyFacts | None = None
    """The gateway key, with its terms; None where callers have none."""
    key_hash: str = ""
    """The hash of the key's secret that was sent."""


class Authenticator:
    """Admits callers: `keys` by gateway key, `forward` if the teacher accepts their own, `open` all.

    `find_key` gets the sha256 hex of a key; `look_up` looks for one that it does not find, and returns
    whether it finds it now. `clock` returns monotonic seconds.
    """

    def __init__(
        self,
        mode: ClientMode,
        find_key: Callable[[str], KeyFacts | None] = lambda _: None,
        look_up: LookUp | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._mode = mode
        self._find_key = find_key
        self._look_up = look_up
        self._clock = clock
        self._accepted_at: dict[bytes, float] = {}

    @property
    def is_open(self) -> bool:
        """Whether every caller is admitted."""
        return self._mode == "open"

    async def identify(self, headers: tuple[Header, ...]) -> Caller:
        """Return the caller, as `authenticate`; a key that was made a moment ago is found, too."""
        try:
            return self.authenticate(headers)
        except RequestError:
            key = _sent_key(headers)
            if self._mode != "keys" or self._look_up is None or not may_be_key(key):
                raise
            if not await self._look_up(hash_key(key)):
                raise
        return self.authenticate(headers)

    def authenticate(self, headers: tuple[Header, ...]) -> Caller:
        """Return the caller. Raises RequestError (401); its message never repeats what was sent."""
        if self._mode == "open":
            return Caller(id=OPEN, is_trusted=True, tenant=OPEN, sees_scores=True, may_force_local=True)
        sent = [value for name, value in headers if name == b"authorization"]
        if not sent:
            raise _unauthorized(_MISSING)
        if len(sent) > 1:
            # We would judge one of them, and the teacher perhaps another.
            raise _unauthorized("More than one Authorization header was sent.")
        return self._find_holder(sent[0]) if self._mode == "keys" else self._identify_forwarded(sent[0])

    def observe_status(self, caller: Caller, status: int) -> None:
        """Learn from the `status` of an answer whether the teacher accepts a forwarded credential.

        An answer to a caller that is trusted already proves nothing, because a specialist may have
        given it: trust lasts an hour and must then be earned again.
        """
        if not caller.credential:
            return
        if status in (401, 403):
            self._accepted_at.pop(caller.credential, None)
        elif status < 400 and not caller.is_trusted:
            self._accepted_at[caller.credential] = self._clock()
            if len(self._accepted_at) > MAX_TRUSTED:
                del self._accepted_at[next(iter(self._accepted_at))]

    def _find_holder(self, authorization: bytes) -> Caller:
        scheme, _, key = authorization.strip().partition(b" ")
        if scheme.lower() != b"bearer" or not key.strip():
            raise _unauthorized(_MISSING)
        key_hash = hash_key(key.strip())
        found = self._find_key(key_hash)
        if found is None:
            raise _unauthorized(
                "Incorrect API key provided: it is unknown, expired or revoked. "
                "Keys are made with `stepdown keys create`."
            )
        return Caller(
            id=found.name,
            is_trusted=True,
            tenant=found.tenant,
            sees_scores=found.is_trusted,
            may_force_local=found.may_force_local,
            key=found,
            key_hash=key_hash,
        )

    def _identify_forwarded(self, authorization: bytes) -> Caller:
        if not authorization.strip():
            raise _unauthorized(_MISSING)
        digest = hashlib.sha256(authorization)
        accepted_at = self._accepted_at.get(digest.digest())
        is_trusted = accepted_at is not None and self._clock() - accepted_at < TRUST_S
        # The id is short and could be matched on purpose; trust depends on the whole hash.
        caller_id = f"fwd-{digest.hexdigest()[:12]}"
        tenant = f"fwd-{digest.hexdigest()}"
        return Caller(id=caller_id, is_trusted=is_trusted, tenant=tenant, credential=digest.digest())


def revoked_key() -> RequestError:
    """Return the error that ends what a key has under way when it is revoked or expires."""
    return _unauthorized("This API key has been revoked or has expired.")


def _sent_key(headers: tuple[Header, ...]) -> bytes:
    sent = (value.strip().partition(b" ")[2].strip() for name, value in headers if name == b"authorization")
    return next(sent, b"")


def _unauthorized(message: str) -> RequestError:
    return RequestError(message, status=401, code="invalid_api_key")
