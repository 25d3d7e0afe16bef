"""Ports of 127.0.0.1 that stay free until the test takes them."""

from __future__ import annotations

import secrets
import socket

_PORTS = range(11_000, 22_000)
_APART = 10_000


def find_port() -> int:
    """Return a port that nothing listens on, nor on the one 10,000 above it.

    Both are below those that the system gives to whoever asks for any: one of these may be free now, and
    another's when a server takes it, or takes it again.
    """
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + _APART))
            except OSError:
                continue
        return port
