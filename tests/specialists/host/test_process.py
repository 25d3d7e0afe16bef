from __future__ import annotations

import asyncio
import random
import signal
import stat
import struct
from pathlib import Path

import pytest

from gateway.core import DraftRequest
from gateway.ipc.child_process import REFUSED
from gateway.registry.models import Registry
from gateway.specialists.client.client import HostClient
from gateway.specialists.protocol import EmbedText, LoadVersion, MakeDraft, Ping, encode_frame
from gateway.specialists.runtimes.scripted import Script
from tests.specialists.hosting import HostProcess, publish_script
from tests.support.waiting import PATIENCE_S


def test_a_host_ends_with_its_parent(own_host: HostProcess) -> None:
    assert own_host.process.stdin is not None
    own_host.process.stdin.close()

    assert own_host.process.wait(PATIENCE_S) == 0


def test_a_host_ends_when_asked_to(own_host: HostProcess) -> None:
    own_host.send(signal.SIGTERM)

    assert own_host.process.wait(PATIENCE_S) == 0


def test_only_its_user_may_connect_to_a_host(host: HostProcess) -> None:
    assert stat.S_IMODE(host.socket.stat().st_mode) == 0o600


def test_a_host_takes_over_the_socket_of_a_dead_one(own_host: HostProcess) -> None:
    own_host.end()
    successor = HostProcess(own_host.socket)

    successor.wait_until_up()

    successor.end()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--encoder", "nope"], "unknown encoder 'nope'; known: minilm, onnx_folder"),
        (["--encoder-config", '{"tokens": 9}'], "unknown field `tokens`"),
        (["--encoder", "onnx_folder"], "missing required field `folder`"),
        (["--encoder", "onnx_folder", "--encoder-config", '{"folder": "/nowhere"}'], "/nowhere/model.onnx"),
    ],
)
def test_a_wrong_setting_is_reported_in_one_line(
    socket_path: Path, arguments: list[str], complaint: str
) -> None:
    host = HostProcess(socket_path, *arguments)

    output = host.last_words()
    host.end()

    assert host.process.returncode in {1, REFUSED}
    assert complaint in output
    assert len(output.splitlines()) == 1


def test_a_host_that_cannot_listen_says_so_in_one_line(socket_path: Path) -> None:
    """A disk that is read-only by now keeps the old socket; the supervisor goes on trying."""
    socket_path.mkdir()
    host = HostProcess(socket_path)

    output = host.last_words()
    host.end()

    assert output.startswith("the model host cannot listen: ")
    assert len(output.splitlines()) == 1


def test_a_host_ends_in_spite_of_a_draft_that_hangs(
    own_host: HostProcess, registry: Registry, tmp_path: Path
) -> None:
    folder = publish_script(registry, tmp_path / "trained", Script(faults={"hang": "hang"}))

    async def hang() -> None:
        client = HostClient(own_host.socket)
        assert await client.open(PATIENCE_S)
        await client.load("support", 1, folder)
        with pytest.raises(Exception, match="late"):
            await client.draft("support", 1, DraftRequest(text="hang"), 0.1)
        await client.close()

    asyncio.run(hang())
    own_host.send(signal.SIGTERM)

    assert own_host.process.wait(PATIENCE_S) == 0


async def test_garbage_costs_its_sender_the_connection_and_no_other_client(
    client: HostClient, host: HostProcess
) -> None:
    """Random bytes, mutated frames, endless lengths, half frames: other clients are served all the time."""
    rng = random.Random(7)
    genuine = [
        encode_frame(MakeDraft(1, "support", 1, DraftRequest(text="hello"), 100.0)),
        encode_frame(EmbedText(2, "hello", 100.0)),
        encode_frame(LoadVersion(3, "support", 1, "/etc")),
        encode_frame(Ping(4)),
    ]

    for attempt in range(300):
        await _throw(host.socket, _garbage(rng, genuine))
        if attempt % 50 == 0:
            assert len(await client.embed("where is my card?", PATIENCE_S)) == 384 * 4

    assert host.process.poll() is None


def _garbage(rng: random.Random, genuine: list[bytes]) -> bytes:
    kind = rng.randrange(5)
    if kind == 0:
        return rng.randbytes(rng.randrange(1, 2_000))
    if kind == 1:
        return struct.pack(">I", rng.randrange(1 << 32)) + rng.randbytes(100)
    sent = bytearray(rng.choice(genuine))
    if kind == 2:
        return bytes(sent[: rng.randrange(len(sent))])
    for _ in range(rng.randrange(1, 6)):
        sent[rng.randrange(4, len(sent))] = rng.randrange(256)
    return bytes(sent) * (1 if kind == 3 else 20)


async def _throw(path: Path, garbage: bytes) -> None:
    _, writer = await asyncio.open_unix_connection(path)
    writer.write(garbage)
    writer.close()
    try:
        await writer.wait_closed()
    except OSError:
        return
