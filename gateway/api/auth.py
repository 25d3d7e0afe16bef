"""The caller of a request, found in its headers alone: the body of a stranger is never read."""

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
"""The caller's id in mode `open`, where every caller is admitted."""
TRUST_S = 3600.0
# About 100 bytes each; the oldest are forgotten first and simply earn their trust again.
MAX_TRUSTED = 100_000

_MISSING = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header using "
    "Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
)


class GatewayKey(Protocol):
    """The facts of a gateway key that decide what its holder may do."""

    @property
    def id(self) -> str:
        """The id used to revoke it."""

    @property
    def name(self) -> str:
        """The name of its holder in policies; may be empty."""

    @property
    def tenant(self) -> str:
        """The owner of its requests' data."""

    @property
    def may_force_local(self) -> bool:
        """Whether its holder may ask for a specialist's answer whatever the certificate says."""

    @property
    def is_trusted(self) -> bool:
        """Whether its holder sees scores and thresholds."""


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


class Authenticator:
    """Admits callers: `keys` by gateway key, `forward` if the teacher accepts their own, `open` all.

    `find_key` gets the sha256 hex of a key; `clock` returns monotonic seconds.
    """

    def __init__(
        self,
        mode: ClientMode,
        find_key: Callable[[str], GatewayKey | None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._mode = mode
        self._find_key = find_key
        self._clock = clock
        self._accepted_at: dict[bytes, float] = {}

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
        found = self._find_key(hashlib.sha256(key.strip()).hexdigest())
        if found is None:
            raise _unauthorized("Incorrect API key provided. Keys are made with `stepdown keys create`.")
        return Caller(
            id=found.name or found.id,
            is_trusted=True,
            tenant=found.tenant,
            sees_scores=found.is_trusted,
            may_force_local=found.may_force_local,
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


def _unauthorized(message: str) -> RequestError:
    return RequestError(message, status=401, code="invalid_api_key")
