from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from gateway.core import DraftRequest
from gateway.errors import RegistryError, SpecialistError
from gateway.registry.models import Registry
from gateway.specialists.client.client import Config, HostClient
from gateway.specialists.onnx_encoder import OnnxEncoder
from gateway.specialists.protocol import MAX_TEXT_CHARS
from gateway.specialists.runtimes.head import runtime as head
from gateway.specialists.runtimes.scripted import Script
from tests.specialists.hosting import (
    HostProcess,
    drafted,
    publish_head,
    publish_script,
    running_host,
    stock_of,
)

SOON = Config(first_pause_s=0.01, longest_pause_s=0.05, ping_every_s=0.05, ping_timeout_s=0.3)


@pytest.fixture
async def impatient(own_host: HostProcess) -> AsyncIterator[HostClient]:
    client = HostClient(own_host.socket, SOON)
    assert await client.open(10)
    yield client
    await client.close()


async def reason_of(client: HostClient, text: str = "hello", budget_s: float = 10, version: int = 1) -> str:
    with pytest.raises(SpecialistError) as fault:
        await client.draft("support", version, DraftRequest(text=text), budget_s)
    return fault.value.reason


async def test_a_draft_is_what_the_runtime_says(
    client: HostClient, registry: Registry, tmp_path: Path, encoder: OnnxEncoder
) -> None:
    """Text and score are the very ones which the certificate was computed from."""
    folder = publish_head(registry, tmp_path / "trained", encoder)
    await client.load("support", 1, folder)

    draft = await client.draft("support", 1, DraftRequest(text="has my card arrived?"), 10)

    expected = drafted(head.create(folder, stock_of(encoder)), "has my card arrived?")
    assert (draft.text, draft.score, draft.evidence) == (expected.text, expected.score, expected.evidence)
    assert (draft.task, draft.version) == ("support", 1)
    assert draft.latency_ms > 0


async def test_an_embedding_is_the_encoders(client: HostClient, encoder: OnnxEncoder) -> None:
    vector = np.frombuffer(await client.embed("where is my card?", 10), np.float32)

    assert vector.tobytes() == encoder.encode("where is my card?").tobytes()


async def test_many_drafts_at_once_get_their_own_answers(
    client: HostClient, registry: Registry, tmp_path: Path
) -> None:
    script = Script(answers={f"question {n}": f"answer {n}" for n in range(50)})
    await client.load("support", 1, publish_script(registry, tmp_path / "trained", script))

    drafts = await asyncio.gather(
        *(client.draft("support", 1, DraftRequest(text=f"question {n}"), 10) for n in range(50))
    )

    assert [draft.text for draft in drafts] == [f"answer {n}" for n in range(50)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("word " * 300, "input too long"),
        ("x" * (MAX_TEXT_CHARS + 1), "input too long"),
        ("", "empty input"),
        ("\ud800", "input unreadable"),
    ],
)
async def test_an_input_nobody_can_answer_is_a_reason(client: HostClient, text: str, reason: str) -> None:
    with pytest.raises(SpecialistError) as fault:
        await client.embed(text, 10)

    assert fault.value.reason == reason


async def test_a_version_nobody_loaded_is_a_reason(client: HostClient) -> None:
    assert await reason_of(client, version=99) == "version not loaded"


async def test_an_unloaded_version_drafts_no_more(
    client: HostClient, registry: Registry, tmp_path: Path
) -> None:
    await client.load("support", 1, publish_script(registry, tmp_path / "trained", Script()))

    await client.unload("support", 1)

    assert await reason_of(client) == "version not loaded"


async def test_two_versions_serve_side_by_side(
    client: HostClient, registry: Registry, tmp_path: Path
) -> None:
    """So that a new version can be taken over without a dropped request."""
    for version, answer in ((1, "old"), (2, "new")):
        script = Script(otherwise=answer)
        await client.load("support", version, publish_script(registry, tmp_path / answer, script, version))

    assert (await client.draft("support", 1, DraftRequest(text="hello"), 10)).text == "old"
    assert (await client.draft("support", 2, DraftRequest(text="hello"), 10)).text == "new"


async def test_refused_files_are_named(client: HostClient, registry: Registry, tmp_path: Path) -> None:
    folder = publish_script(registry, tmp_path / "trained", Script())
    (folder / "script.json").unlink()

    with pytest.raises(RegistryError, match=r"script\.json is missing"):
        await client.load("support", 1, folder)


async def test_a_late_draft_costs_no_more_than_its_budget(
    client: HostClient, registry: Registry, tmp_path: Path
) -> None:
    script = Script(delay_ms=500)
    await client.load("support", 1, publish_script(registry, tmp_path / "trained", script))
    started = asyncio.get_running_loop().time()

    assert await reason_of(client, budget_s=0.05) == "late"

    assert asyncio.get_running_loop().time() - started < 0.4


async def test_drafts_of_clients_who_left_are_not_made(
    client: HostClient, registry: Registry, tmp_path: Path
) -> None:
    """60 queued drafts of 200 ms would keep both threads busy for 6 s."""
    script = Script(delay_ms=200)
    await client.load("support", 1, publish_script(registry, tmp_path / "trained", script))
    leaving = [
        asyncio.create_task(client.draft("support", 1, DraftRequest(text="hello"), 60)) for _ in range(60)
    ]
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)

    draft = await client.draft("support", 1, DraftRequest(text="hello"), budget_s=3)

    assert draft.text == "scripted"


async def test_without_a_host_every_call_fails_at_once(socket_path: Path) -> None:
    client = HostClient(socket_path)

    assert not await client.open(0.1)
    assert await reason_of(client) == "host down"

    await client.close()


async def test_a_load_of_before_the_host_came_up_is_made_up_for(
    socket_path: Path, registry: Registry, tmp_path: Path
) -> None:
    folder = publish_script(registry, tmp_path / "trained", Script())
    client = HostClient(socket_path, SOON)
    with pytest.raises(SpecialistError, match="host down"):
        await client.load("support", 1, folder)

    with running_host(socket_path):
        assert await client.open(10)
        assert (await client.draft("support", 1, DraftRequest(text="hello"), 10)).text == "scripted"

    await client.close()


async def test_a_host_killed_while_it_drafts_fails_the_drafts_and_no_more(
    impatient: HostClient, own_host: HostProcess, registry: Registry, tmp_path: Path
) -> None:
    """Every waiting draft ends at once with a reason; a new host takes over with the old models."""
    script = Script(delay_ms=100)
    await impatient.load("support", 1, publish_script(registry, tmp_path / "trained", script))
    drafts = [
        asyncio.create_task(impatient.draft("support", 1, DraftRequest(text="hello"), 30)) for _ in range(20)
    ]
    await asyncio.sleep(0)

    own_host.send(signal.SIGKILL)
    results = await asyncio.wait_for(asyncio.gather(*drafts, return_exceptions=True), 5)

    assert {str(result).partition(":")[0] for result in results} == {"host down"}
    with running_host(own_host.socket):
        assert await impatient.open(10)
        assert (await impatient.draft("support", 1, DraftRequest(text="hello"), 10)).text == "scripted"


async def test_a_specialist_which_takes_the_host_along_is_a_reason(
    impatient: HostClient, registry: Registry, tmp_path: Path
) -> None:
    script = Script(faults={"die": "die"})
    await impatient.load("support", 1, publish_script(registry, tmp_path / "trained", script))

    assert await reason_of(impatient, "die") == "host down"


async def test_a_frozen_host_counts_as_down_until_it_wakes(
    impatient: HostClient, own_host: HostProcess
) -> None:
    """Otherwise every request would wait out its budget before the teacher is asked."""
    own_host.send(signal.SIGSTOP)
    async with asyncio.timeout(10):
        while await reason_of(impatient, budget_s=0.05) != "host down":
            pass

    own_host.send(signal.SIGCONT)

    assert await impatient.open(10)


async def test_a_host_which_talks_nonsense_is_left(socket_path: Path) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\xff" * 64)
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(babble, socket_path)
    client = HostClient(socket_path, SOON)

    assert not await client.open(0.2)
    assert await reason_of(client) == "host down"

    await client.close()
    server.close()
