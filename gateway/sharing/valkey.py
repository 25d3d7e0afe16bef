"""The connection to Valkey, with deadlines of ours; the only module that imports its client."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gateway.errors import ConfigError
from gateway.sharing.base import AwayError, Config

CALL_S = 0.5
"""The longest that a background call waits. The client's own default is 5 s, ten times over."""

_SCHEMES = {"valkey": "redis", "valkeys": "rediss"}
_WHY = {
    "used memory": "out of memory, it takes no changes: raise maxmemory, with maxmemory-policy noeviction",
    "username-password": "it refuses the user or the password (STEPDOWN_STATE_PASSWORD)",
    "authenticat": "it wants a password: set STEPDOWN_STATE_PASSWORD",
    "no permissions": "its ACL does not let this user do what is needed",
    "read only replica": "this is a replica, which takes no changes: name the primary",
    "cluster": "this is a cluster, which is not spoken here: name a single server",
    "unknown command": "it lacks a command: this is a Sentinel, or older than Redis 7: name the primary",
    "timeout": "it does not answer",
    "loading": "it is still loading its data",
    "unable to persist": "it takes no changes, because it cannot save them",
}
"""By what the server's message says: the words for an operator."""


class Valkey:
    """One connection for one thread; every call has a deadline and raises AwayError alone."""

    def __init__(self, config: Config, timeout_s: float = CALL_S) -> None:
        """Connect at the first call. Raises ConfigError where the client is not installed."""
        redis = import_client()
        self.prefix = f"{{{config.prefix}}}:"
        self._errors: tuple[type[Exception], ...] = (redis.RedisError, OSError)
        # From the address alone: what is imported and built here costs nothing until the first call.
        self._client = redis.Redis.from_url(**connection_options(config, timeout_s))
        self._scripts: dict[str, Any] = {}

    def key(self, *parts: str) -> str:
        """Return the name of a key; all are in one slot, by the braces."""
        return self.prefix + ":".join(parts)

    def run(self, script: str, keys: Sequence[str], arguments: Sequence[object]) -> Any:
        """Run a script of ours, which happens whole or not at all."""
        known = self._scripts.get(script)
        if known is None:
            known = self._scripts[script] = self._client.register_script(script)
        with self.translated():
            return known(keys=keys, args=arguments)

    def call(self, *words: object) -> Any:
        """Send one command."""
        with self.translated():
            return self._client.execute_command(*words)

    def listen(self, channel: str) -> Callable[[float], bool]:
        """Subscribe; return a function that waits so long for a message and says whether one came."""
        with self.translated():
            subscription = self._client.pubsub(ignore_subscribe_messages=True)
            subscription.subscribe(channel)

        def wait(seconds: float) -> bool:
            with self.translated():
                came = subscription.get_message(timeout=seconds) is not None
                while came and subscription.get_message(timeout=0.0) is not None:
                    pass
                return came

        return wait

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(Exception):
            self._client.close()

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Raise what the client raises as AwayError."""
        try:
            yield
        except self._errors as exc:
            raise AwayError(describe_fault(exc)) from exc


def import_client() -> Any:
    """Return the client's module. Raises ConfigError where it is not installed."""
    try:
        import redis
    except ImportError as exc:
        raise ConfigError("[state] url needs the extra `cluster`: pip install 'stepdown[cluster]'") from exc
    return redis


def connection_options(config: Config, timeout_s: float) -> dict[str, Any]:
    """Return the options of a client, without its own retries and its long deadlines.

    With its default of ten retries a call to a frozen server took 6 s, whatever its deadline.
    """
    scheme, _, rest = config.url.partition("://")
    return {
        "url": f"{_SCHEMES.get(scheme, scheme)}://{rest}",
        "password": config.credential.reveal() if config.credential else None,
        "retry": None,
        "retry_on_timeout": False,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "protocol": 2,  # its answers have the same shapes from every server
    }


def describe_fault(exc: Exception) -> str:
    """Return why the server cannot be used, in one line without a secret."""
    text = str(exc).strip() or type(exc).__name__
    said = next((why for words, why in _WHY.items() if words in text.lower()), text.splitlines()[0])
    return said[:200]
