"""Where a teacher is: its address, its name in requests, the way there."""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Callable
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from gateway.errors import ConfigError

_PORTS = {"http": 80, "https": 443}


class Proxy(msgspec.Struct, frozen=True):
    """A proxy that speaks plain HTTP; `credential` is the value of Proxy-Authorization, perhaps empty."""

    host: str
    port: int
    credential: bytes = b""


class Origin(msgspec.Struct, frozen=True):
    """One origin. `authority` is the Host header, `tls` None for plain HTTP."""

    host: str
    port: int
    authority: bytes
    tls: ssl.SSLContext | None = None
    proxy: Proxy | None = None

    @property
    def prefix(self) -> bytes:
        """The prefix of a target: a proxy of plain HTTP needs the origin there."""
        return b"http://" + self.authority if self.proxy and not self.tls else b""


def origin_of(origin: str, proxy: str | None, create_tls: Callable[[], ssl.SSLContext]) -> Origin:
    """Return the site of `origin` (scheme://host[:port]), which is reached through `proxy`.

    Raises ConfigError for what is no such origin, and for a proxy that is not reached by plain HTTP.
    """
    url, host, port = _parsed(origin)
    name = f"[{host}]" if ":" in host else host
    authority = name if port == _PORTS[url.scheme] else f"{name}:{port}"
    return Origin(
        host=host,
        port=port,
        authority=authority.encode(),
        tls=create_tls() if url.scheme == "https" else None,
        proxy=_proxy(proxy),
    )


def _parsed(origin: str) -> tuple[SplitResult, str, int]:
    try:
        url = urlsplit(origin)
        port, host = url.port, (url.hostname or "").encode("idna").decode()
    except ValueError as fault:
        raise ConfigError(f"{origin!r} is no origin: {fault}") from fault
    if url.scheme not in _PORTS or not host:
        raise ConfigError(f"{origin!r} is no origin; it must be http(s)://host[:port]")
    return url, host, port or _PORTS[url.scheme]


def _proxy(proxy: str | None) -> Proxy | None:
    if proxy is None:
        return None
    if not proxy.startswith("http://"):
        raise ConfigError("a proxy must be http://[user:password@]host:port")
    url, host, port = _parsed(proxy)
    credential = b""
    if url.username is not None:
        pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
        credential = b"Basic " + b64encode(pair.encode())
    return Proxy(host, port, credential)
