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
    resources_of,
    running_host,
)
from tests.support.waiting import PATIENCE_S

HELLO = DraftRequest(text="hello")
SOON = Config(first_pause_s=0.01, longest_pause_s=0.05, ping_every_s=0.05, ping_timeout_s=2.0)
"""The ping waits long enough that a busy host is not taken for a frozen one."""


@pytest.fixture
async def quick_client(own_host: HostProcess) -> AsyncIterator[HostClient]:
    """A client that soon notices the end of its host."""
    client = HostClient(own_host.socket, SOON)
    assert await client.open(PATIENCE_S)
    yield client
    await client.close()


async def reason_of(
    client: HostClient, text: str = "hello", budget_s: float = PATIENCE_S, version: int = 1
) -> str:
    with pytest.raises(SpecialistError) as failure:
        await client.draft("support", version, DraftRequest(text=text), budget_s)
    return failure.value.reason


async def test_a_draft_is_the_prediction_of_its_runtime(
    client: HostClient, registry: Registry, tmp_path: Path, encoder: OnnxEncoder
) -> None:
    """Text and score are the very ones that the certificate was computed from."""
    folder = publish_head(registry, tmp_path / "trained", encoder)
    await client.load("support", 1, folder)

    draft = await client.draft("support", 1, DraftRequest(text="has my card arrived?"), PATIENCE_S)

    expected = drafted(head.create(folder, resources_of(encoder)), "has my card arrived?")
    assert (draft.text, draft.score, draft.evidence) == (expected.text, expected.score, expected.evidence)
    assert draft.teacher_tokens == expected.teacher_tokens > 0
    assert (draft.task, draft.version) == ("support", 1)
    assert draft.latency_ms > 0


async def test_an_embedding_is_the_encoders(client: HostClient, encoder: OnnxEncoder) -> None:
    vector = np.frombuffer(await client.embed("where is my card?", PATIENCE_S), np.float32)

    assert vector.tobytes() == encoder.encode("where is my card?").tobytes()


async def test_many_drafts_at_once_get_their_own_answers(
    client: HostClient, registry: Registry, tmp_path: Path
) -> None:
    script = Script(answers={f"question {n}": f"answer {n}" for n in range(50)})
    await client.load("support", 1, publish_script(registry, tmp_path / "trained", script))

    drafts = await asyncio.gather(
        *(client.draft("support", 1, DraftRequest(text=f"question {n}"), PATIENCE_S) for n in range(50))
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
async def test_an_unanswerable_input_is_a_reason(client: HostClient, text: str, reason: str) -> None:
    with pytest.raises(SpecialistError) as failure:
        await client.embed(text, PATIENCE_S)

    assert failure.value.reason == reason


async def test_a_version_that_was_never_loaded_is_a_reason(client: HostClient) -> None:
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
    """A new version can take over without a dropped request."""
    for version, answer in ((1, "old"), (2, "new")):
        script = Script(otherwise=answer)
        await client.load("support", version, publish_script(registry, tmp_path / answer, script, version))

    assert (await client.draft("support", 1, HELLO, PATIENCE_S)).text == "old"
    assert (await client.draft("support", 2, HELLO, PATIENCE_S)).text == "new"


async def test_refused_files_are_named(client: HostClient, registry: Registry, tmp_path: Path) -> None:
    folder = publish_script(registry, tmp_path / "trained", Script())
    (folder / "script.json").unlink()

    with pytest.raises(RegistryError, match=r"script\.json is missing"):
        await client.load("support", 1, folder)


async def test_a_late_draft_costs_no_more_than_its_budget(
    quick_client: HostClient, registry: Registry, tmp_path: Path
) -> None:
    """This draft never ends, so a client that waited for it would wait for ever."""
    script = Script(faults={"hang": "hang"})
    await quick_client.load("support", 1, publish_script(registry, tmp_path / "trained", script))

    async with asyncio.timeout(PATIENCE_S):
        assert await reason_of(quick_client, "hang", budget_s=0.05) == "late"


async def test_drafts_of_clients_that_left_are_not_made(
    client: HostClient, registry: Registry, tmp_path: Path
) -> None:
    """60 queued drafts of half a second would keep both threads busy for 15 s; two may have begun."""
    script = Script(delay_ms=500)
    await client.load("support", 1, publish_script(registry, tmp_path / "trained", script))
    leaving = [asyncio.create_task(client.draft("support", 1, HELLO, 60)) for _ in range(60)]
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)

    draft = await client.draft("support", 1, HELLO, budget_s=10)

    assert draft.text == "scripted"


async def test_without_a_host_every_call_fails_at_once(socket_path: Path) -> None:
    client = HostClient(socket_path)

    assert not await client.open(0.1)
    assert await reason_of(client) == "host down"

    await client.close()


async def test_a_load_from_before_the_host_came_up_is_repeated(
    socket_path: Path, registry: Registry, tmp_path: Path
) -> None:
    folder = publish_script(registry, tmp_path / "trained", Script())
    client = HostClient(socket_path, SOON)
    with pytest.raises(SpecialistError, match="host down"):
        await client.load("support", 1, folder)

    with running_host(socket_path):
        assert await client.open(PATIENCE_S)
        assert (await client.draft("support", 1, HELLO, PATIENCE_S)).text == "scripted"

    await client.close()


async def test_a_host_killed_at_work_fails_its_drafts_and_no_later_ones(
    quick_client: HostClient, own_host: HostProcess, registry: Registry, tmp_path: Path
) -> None:
    """Every waiting draft ends at once with a reason; a new host takes over with the old models."""
    folder = publish_script(registry, tmp_path / "trained", Script(faults={"hang": "hang"}))
    await quick_client.load("support", 1, folder)
    hanging = DraftRequest(text="hang")
    drafts = [asyncio.create_task(quick_client.draft("support", 1, hanging, 600)) for _ in range(20)]
    await asyncio.sleep(0)

    own_host.send(signal.SIGKILL)
    results = await asyncio.wait_for(asyncio.gather(*drafts, return_exceptions=True), PATIENCE_S)

    assert {str(result).partition(":")[0] for result in results} == {"host down"}
    with running_host(own_host.socket):
        assert await quick_client.open(PATIENCE_S)
        assert (await quick_client.draft("support", 1, HELLO, PATIENCE_S)).text == "scripted"


async def test_a_specialist_that_kills_the_host_is_a_reason(
    quick_client: HostClient, registry: Registry, tmp_path: Path
) -> None:
    script = Script(faults={"die": "die"})
    await quick_client.load("support", 1, publish_script(registry, tmp_path / "trained", script))

    assert await reason_of(quick_client, "die") == "host down"


async def test_a_frozen_host_counts_as_down_until_it_wakes(
    quick_client: HostClient, own_host: HostProcess
) -> None:
    """Otherwise every request would wait out its budget before the teacher gets it."""
    own_host.send(signal.SIGSTOP)
    async with asyncio.timeout(PATIENCE_S):
        while await reason_of(quick_client, budget_s=0.05) != "host down":
            pass

    own_host.send(signal.SIGCONT)

    assert await quick_client.open(PATIENCE_S)


async def test_a_host_that_sends_nonsense_counts_as_down(socket_path: Path) -> None:
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
