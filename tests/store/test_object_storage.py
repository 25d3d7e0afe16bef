"""A storage that is frozen is given up after a bounded time."""

from __future__ import annotations

import socket
import threading

import pytest

from gateway.store import object_storage
from gateway.store.object_storage import open_storage


def test_a_frozen_storage_is_asked_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each attempt is waited for: many make a command, and what is stored meanwhile, hang for minutes."""
    pytest.importorskip("s3fs")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    patience = {**object_storage._S3_PATIENCE, "read_timeout": 0.05}
    monkeypatch.setattr(object_storage, "_S3_PATIENCE", patience)
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as frozen:

        def take() -> None:
            while True:
                try:
                    taken.append(frozen.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=take)
        thread.start()
        options = {
            "endpoint_url": f"http://127.0.0.1:{frozen.getsockname()[1]}",
            "client_kwargs": {"region_name": "us-east-1"},
        }
        with pytest.raises(OSError, match=r"(?i)timed? ?out"):
            open_storage("s3://bucket/folder", options, "harvest.parts").read("file")
        frozen.shutdown(socket.SHUT_RDWR)
    thread.join()
    for one in taken:
        one.close()

    assert 1 <= len(taken) <= 4
