"""A real websocket server for tests, on a free port of 127.0.0.1."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from websockets.sync.server import ServerConnection, serve


@contextmanager
def websocket_server(speak: Callable[[ServerConnection], None], **options: Any) -> Iterator[int]:
    """Serve each client by `speak`, and give the port; `options` are those of `serve`."""
    with serve(speak, "127.0.0.1", 0, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join()
