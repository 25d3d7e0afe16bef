"""Web pages from elsewhere, kept from what needs no key: any page may send requests to this machine."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from gateway.api.errors import to_error_response
from gateway.api.http.asgi import App, Receive, Scope, Send
from gateway.api.http.exchange import Exchange
from gateway.core import Header
from gateway.errors import RequestError

# The last is how containers call a desktop machine; `.internal` belongs to no one.
_LOCAL_NAMES = frozenset({"localhost", "host.docker.internal"})
HEALTH_PATHS = frozenset({"/healthz", "/readyz"})
"""They tell no more than that a gateway is there. A load balancer asks them by a name of its own (Envoy by
that of its cluster), which an operator does not know to be one of `server.names`."""
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:/?#@\[\]]+)(?::\d*)?")


def refuse_foreign_pages(headers: Iterable[Header], names: Collection[str], path: str = "") -> None:
    """Raise RequestError (403) for a request that a page from elsewhere may have sent.

    Its Host must be an address, a local name or one of `names`: a page that lets its own name point to
    this machine (DNS rebinding) could read answers. Its Origin, if there is one, must be of this machine
    or of that host: any page can send a plain POST. Where keys are required, the key proves enough.
    One of HEALTH_PATHS, with nothing to read and nothing to change, may be asked by any name.
    """
    host = ""
    origin: bytes | None = None
    for name, value in headers:
        if name == b"host":
            host = _read_name(value)
            if not (_is_safe(host) or host in names or path in HEALTH_PATHS):
                raise _refused("host_not_allowed", f"not a name of this gateway: {host[:100]}")
        elif name == b"origin":
            origin = value
    if origin is None:
        return
    page = _read_page(origin)
    if not page or not (page == host or is_local_name(page) or page in names):
        raise _refused("origin_not_allowed", "this page may not use this gateway")


def guard_site(app: App, names: Collection[str]) -> App:
    """Return `app` behind `refuse_foreign_pages`."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                refuse_foreign_pages(scope["headers"], names, scope["path"])
            except RequestError as exc:
                return await Exchange(scope, receive, send).send_error(to_error_response(exc))
        return await app(scope, receive, send)

    return guarded


def is_local_name(host: str) -> bool:
    """Return whether only this machine can be meant by `host`."""
    if host in _LOCAL_NAMES or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=256)
def _is_safe(host: str) -> bool:
    """Whether no page can have made `host` point here: it is a local name or an address.

    Every request asks, mostly with the same host.
    """
    if is_local_name(host):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=256)
def _read_name(value: bytes) -> str:
    found = _HOST.fullmatch(value.decode("latin-1").strip())
    return found[1].strip("[]").rstrip(".").lower() if found else "?"


def _read_page(origin: bytes) -> str:
    """Return the host of an Origin, empty for one without (`null`: a file, or a page in a sandbox)."""
    try:
        return (urlsplit(origin.decode("latin-1")).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _refused(code: str, why: str) -> RequestError:
    return RequestError(
        f"Refused because it needs no key and could come from any web page: {why}. "
        "Other names are allowed with server.names.",
        status=403,
        code=code,
    )
