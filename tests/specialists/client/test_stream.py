"""Answers that are streamed while they are written, through a real host."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from gateway.core import Draft, DraftRequest, DraftStream
from gateway.errors import SpecialistError
from gateway.registry.models import Registry
from gateway.specialists.client.client import HostClient
from gateway.specialists.runtimes.scripted import Script
from tests.specialists.hosting import HostProcess, publish_script
from tests.support.waiting import PATIENCE_S

STORY = "once upon a time there was"
WHOLE = DraftRequest(text="tell")
STREAMED = DraftRequest(text="tell", is_streamed=True)
ENDLESS = Script(otherwise="word " * 6_000, hold_back=1, piece_delay_ms=100)
"""Ten minutes per draft."""


async def draft_streamed(client: HostClient, registry: Registry, scratch: Path, script: Script) -> Draft:
    """Return the streamed draft of a specialist that follows `script`."""
    await client.load("support", 1, publish_script(registry, scratch, script))
    return await client.draft("support", 1, STREAMED, PATIENCE_S)


async def read_to_end(stream: DraftStream) -> str:
    return "".join([piece async for piece in stream])


def keeps_nothing(client: HostClient) -> bool:
    """Whether the client keeps nothing of any stream."""
    connection = client._connection
    return connection is not None and not connection._opened


async def test_the_beginning_comes_first_then_piece_by_piece_to_the_end(
    client: HostClient, registry: Registry, tmp_path: Path
) -> None:
    script = Script(otherwise=STORY, hold_back=2, score=0.7)
    draft = await draft_streamed(client, registry, tmp_path / "new", script)

    assert (draft.text, draft.score, draft.completion_tokens) == ("once upon", 0.7, 2)
    assert draft.stream is not None
    assert [piece async for piece in draft.stream] == [" a", " time", " there", " was"]
    assert (draft.stream.finish_reason, draft.stream.completion_tokens) == ("stop", 6)
    assert keeps_nothing(client)


async def test_a_request_that_is_not_streamed_gets_the_whole_answer(
    client: HostClient, registry: Registry, tmp_path: Path
) -> None:
    await draft_streamed(client, registry, tmp_path / "new", Script(otherwise=STORY, hold_back=2))

    draft = await client.draft("support", 1, WHOLE, PATIENCE_S)

    assert (draft.text, draft.stream) == (STORY, None)


async def test_a_version_without_a_prefix_gate_answers_whole(
    client: HostClient, registry: Registry, tmp_path: Path
) -> None:
    draft = await draft_streamed(client, registry, tmp_path / "new", Script(otherwise=STORY))

    assert (draft.text, draft.stream) == (STORY, None)


async def test_many_streams_at_once_get_their_own_pieces(
    client: HostClient, registry: Registry, tmp_path: Path
) -> None:
    answers = {f"question {n}": " ".join(f"{n}-{word}" for word in range(20)) for n in range(20)}
    script = Script(answers=answers, hold_back=1)
    await client.load("support", 1, publish_script(registry, tmp_path / "new", script))

    async def read_answer(text: str) -> str:
        request = DraftRequest(text=text, is_streamed=True)
        draft = await client.draft("support", 1, request, PATIENCE_S)
        assert draft.stream is not None
        return draft.text + await read_to_end(draft.stream)

    assert await asyncio.gather(*(read_answer(text) for text in answers)) == list(answers.values())
    assert keeps_nothing(client)


async def test_closed_streams_are_not_written_to_their_end(
    client: HostClient, registry: Registry, tmp_path: Path
) -> None:
    """Two of them would keep both threads busy for ten minutes."""
    drafts = [await draft_streamed(client, registry, tmp_path / "new", ENDLESS)]
    drafts.append(await client.draft("support", 1, STREAMED, PATIENCE_S))

    for draft in drafts:
        assert draft.stream is not None
        await anext(draft.stream)
        await draft.stream.aclose()

    assert (await client.draft("support", 1, STREAMED, PATIENCE_S)).text == "word"
    assert len(client._connection._opened if client._connection else ()) == 1


async def test_the_streams_of_a_worker_that_is_gone_are_not_written_to_their_end(
    client: HostClient, host: HostProcess, registry: Registry, tmp_path: Path
) -> None:
    other = HostClient(host.socket)
    assert await other.open(PATIENCE_S)
    await draft_streamed(other, registry, tmp_path / "new", ENDLESS)
    await other.draft("support", 1, STREAMED, PATIENCE_S)
    await client.load("support", 1, registry.folder("support", 1))

    await other.close()

    draft = await client.draft("support", 1, STREAMED, PATIENCE_S)
    assert draft.stream is not None
    await draft.stream.aclose()


async def test_a_specialist_that_breaks_off_is_a_reason(
    client: HostClient, registry: Registry, tmp_path: Path
) -> None:
    script = Script(otherwise=STORY, hold_back=2, breaks_after=1)
    draft = await draft_streamed(client, registry, tmp_path / "new", script)

    assert draft.stream is not None
    assert await anext(draft.stream) == " a"
    with pytest.raises(SpecialistError, match="scripted refusal"):
        await anext(draft.stream)
    assert keeps_nothing(client)


async def test_an_opening_that_comes_too_late_leaves_nothing_behind(
    client: HostClient, registry: Registry, tmp_path: Path
) -> None:
    script = Script(otherwise=STORY, hold_back=2, delay_ms=500)
    await client.load("support", 1, publish_script(registry, tmp_path / "new", script))

    with pytest.raises(SpecialistError, match="late"):
        await client.draft("support", 1, STREAMED, 0.05)
    whole = await client.draft("support", 1, WHOLE, PATIENCE_S)

    assert whole.text == STORY
    assert keeps_nothing(client)


async def test_a_host_that_dies_amid_an_answer_is_down(
    own_host: HostProcess, registry: Registry, tmp_path: Path
) -> None:
    client = HostClient(own_host.socket)
    assert await client.open(PATIENCE_S)
    draft = await draft_streamed(client, registry, tmp_path / "new", ENDLESS)
    assert draft.stream is not None
    await anext(draft.stream)

    own_host.send(signal.SIGKILL)

    with pytest.raises(SpecialistError, match="host down"):
        await asyncio.wait_for(read_to_end(draft.stream), PATIENCE_S)
    await draft.stream.aclose()
    await client.close()


async def test_demands_too_long_for_a_frame_are_a_reason(client: HostClient) -> None:
    tools = b"[" + b" " * (1 << 20) + b"]"

    with pytest.raises(SpecialistError, match="demands too long"):
        await client.draft("support", 1, DraftRequest(text="tell", tools=tools), PATIENCE_S)
