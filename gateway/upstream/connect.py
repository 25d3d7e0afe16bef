"""Opening a connection to a teacher: name, TCP, proxy, TLS."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from aiohappyeyeballs import start_connection

from gateway.errors import UpstreamError, UpstreamTimeoutError
from gateway.upstream.connection import Connection
from gateway.upstream.origin import Origin, Proxy

# RFC 8305: how long the first address may take before the next is tried beside it.
NEXT_ADDRESS_S = 0.25
LONGEST_PROXY_HEAD_BYTES = 16 * 1024
# A machine that is gone without a word is found in a minute, silent or not, where the system lets us say so:
# probes from 20 s on, and what was sent is given up when nothing confirms it.
_DEAD_PEER = (
    ("TCP_KEEPIDLE", 20),
    ("TCP_KEEPALIVE", 20),  # macOS' name of the same
    ("TCP_KEEPINTVL", 10),
    ("TCP_KEEPCNT", 3),
    ("TCP_USER_TIMEOUT", 50_000),
)


async def open_connection(site: Origin, release: Callable[[Connection], None], within_s: float) -> Connection:
    """Return a new connection to `site`. Raises UpstreamError, of which nothing was sent."""
    try:
        async with asyncio.timeout(within_s):
            return await _open(site, release)
    except TimeoutError as fault:
        raise UpstreamTimeoutError("the teacher could not be reached in time", was_sent=False) from fault
    except (OSError, EOFError) as fault:
        # A server that ends the connection instead of greeting leaves no words in the error.
        why = str(fault) or type(fault).__name__
        raise UpstreamError(f"the teacher could not be reached: {why}", was_sent=False) from fault


async def _open(site: Origin, release: Callable[[Connection], None]) -> Connection:
    loop = asyncio.get_running_loop()
    first = site.proxy or site
    addresses = await loop.getaddrinfo(first.host, first.port, type=socket.SOCK_STREAM)
    sock = await start_connection(addresses, happy_eyeballs_delay=NEXT_ADDRESS_S)
    try:
        if site.proxy and site.tls:
            await _tunnel(sock, site, site.proxy)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        detect_dead_peer(sock)
        _, connection = await loop.create_connection(
            lambda: Connection(release),
            sock=sock,
            ssl=site.tls,
            server_hostname=site.host if site.tls else None,
        )
    except BaseException:
        sock.close()
        raise
    return connection


def detect_dead_peer(sock: socket.socket) -> None:
    """Have the system notice a peer that is gone."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _DEAD_PEER:
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


async def _tunnel(sock: socket.socket, site: Origin, proxy: Proxy) -> None:
    """Have the proxy connect `sock` to the site. Raises OSError for a proxy that will not."""
    loop = asyncio.get_running_loop()
    name = f"[{site.host}]" if ":" in site.host else site.host
    target = f"{name}:{site.port}".encode()
    credential = b"proxy-authorization: %b\r\n" % proxy.credential if proxy.credential else b""
    await loop.sock_sendall(sock, b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (target, target, credential))
    head = b""
    while b"\r\n\r\n" not in head:
        piece = await loop.sock_recv(sock, LONGEST_PROXY_HEAD_BYTES)
        if not piece or len(head) > LONGEST_PROXY_HEAD_BYTES:
            raise EOFError("the proxy gave no answer")
        head += piece
    if head.split(b" ", 2)[1:2] != [b"200"]:
        raise ConnectionRefusedError(f"the proxy answered {head.splitlines()[0]!r}")
