"""The settings of the shared state, and the words of this room."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from gateway.config.bounds import PositiveFloat
from gateway.core import Secret
from gateway.errors import StepdownError

SCHEMES = ("redis", "rediss", "valkey", "valkeys", "unix")
PASSWORD_VARIABLE = "STEPDOWN_STATE_PASSWORD"  # noqa: S105 - the name of a variable


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """State that several machines share through one Valkey (or Redis, 7 and later). Without `url` none."""

    url: str = ""
    """redis://[USER@]HOST:PORT/DB, rediss:// with TLS (`?ssl_ca_certs=FILE`), unix:///PATH. The password is
    STEPDOWN_STATE_PASSWORD, or in the file that STEPDOWN_STATE_PASSWORD_FILE names."""
    credential: Secret | None = None
    prefix: str = "stepdown"
    """Begins every key: fleets with different prefixes may share one server."""
    lease_s: PositiveFloat = 30.0
    """How long a machine that cannot reach the others serves under their certificates; then the teacher."""
    max_stale_s: PositiveFloat = 3_600.0
    """How long the keys that a machine knows count while it cannot ask whether they were revoked."""

    def __post_init__(self) -> None:
        """Refuse an address of another kind than one server's, and a password in it."""
        if not self.url:
            return
        parts = urlsplit(self.url)
        if "sentinel" in parts.scheme or "cluster" in parts.scheme:
            raise ValueError(
                f"url: {parts.scheme} is not spoken here: name one address that always leads to the "
                "primary (a service name, a proxy); a failover then needs no change here"
            )
        if parts.scheme not in SCHEMES:
            raise ValueError(f"url: begins with {', '.join(f'{each}://' for each in SCHEMES)}")
        if parts.password is not None:
            raise ValueError(f"url: without the password, which belongs into {PASSWORD_VARIABLE}(_FILE)")

    @property
    def is_shared(self) -> bool:
        """Whether there is any shared state."""
        return bool(self.url)


class AwayError(StepdownError):
    """The shared state cannot be reached, or takes no changes; the message says why, in one line."""
