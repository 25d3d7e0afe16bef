from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.registry.models import Registry
from gateway.specialists.client.client import Config, HostClient
from gateway.specialists.encoders import minilm
from gateway.specialists.onnx_encoder import OnnxEncoder
from tests.specialists.hosting import HostProcess, ReplyInbox, running_host
from tests.support.waiting import PATIENCE_S


@pytest.fixture(scope="session")
def encoder() -> OnnxEncoder:
    return minilm.create()


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


@pytest.fixture
def socket_path() -> Iterator[Path]:
    """A path short enough for a Unix socket; tmp_path may be too long."""
    with tempfile.TemporaryDirectory(prefix="sd-") as folder:
        yield Path(folder) / "host.sock"


@pytest.fixture(scope="module")
def host() -> Iterator[HostProcess]:
    """A host that the tests of a module share; a test that breaks its host uses `own_host`."""
    with tempfile.TemporaryDirectory(prefix="sd-") as folder, running_host(Path(folder) / "host.sock") as up:
        yield up


@pytest.fixture
def own_host(socket_path: Path) -> Iterator[HostProcess]:
    with running_host(socket_path) as up:
        yield up


@pytest.fixture
async def client(host: HostProcess) -> AsyncIterator[HostClient]:
    # Patient: only the tests that freeze a host are about its silence.
    client = HostClient(host.socket, Config(ping_timeout_s=PATIENCE_S))
    assert await client.open(PATIENCE_S)
    yield client
    await client.close()


@pytest.fixture
async def inbox() -> ReplyInbox:
    return ReplyInbox()
