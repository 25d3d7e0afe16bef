"""A gateway must not be its own teacher: each request would ask the next one, without end."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from gateway.errors import ConfigError

_ANY = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
_LOOPBACK = {"127.0.0.1", "::1"}


def refuse_own_address(base_url: str, listeners: Sequence[socket.socket]) -> None:
    """Raise ConfigError if one of `listeners` listens on `base_url`; see refuse_address."""
    refuse_address(base_url, [listener.getsockname()[:2] for listener in listeners])


def refuse_address(base_url: str, own: Sequence[tuple[str, int]]) -> None:
    """Raise ConfigError if `base_url` is one of our `own` addresses: host and port.

    Names of other machines are not looked up: what leads back from there is seen when it comes (508).
    """
    url = urlsplit(base_url)
    port = url.port or (443 if url.scheme == "https" else 80)
    addresses = _local_addresses(url.hostname or "")
    for host, own_port in own:
        if port == own_port and addresses and (host in _ANY or host in addresses):
            raise ConfigError(
                f"the teacher's address {base_url} is this gateway's own: set OPENAI_BASE_URL to that of the "
                "teacher, or listen on another port"
            )


def _local_addresses(host: str) -> set[str]:
    """Return the addresses of this machine that `host` means; empty if it is another machine's."""
    if host in _ANY:
        return _LOOPBACK
    if host == "localhost" or host.endswith(".localhost"):
        return _LOOPBACK
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return set()
    return {str(address)} if _is_local(address) else set()


def _is_local(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            # Only an address of this machine can be bound.
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True
