"""Answers which are heard while they are written, through a real host."""

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

STORY = "once upon a time there was"
STREAMED = DraftRequest(text="tell", is_streamed=True)
ENDLESS = Script(otherwise="word " * 600, hold_back=1, piece_delay_ms=100)
"""A minute of it for every draft."""


async def told(client: HostClient, registry: Registry, scratch: Path, script: Script) -> Draft:
    """Return the streamed draft of a specialist which follows `script`."""
    await client.load("support", 1, publish_script(registry, scratch, script))
    return await client.draft("support", 1, STREAMED, 10)


async def to_the_end(stream: DraftStream) -> str:
    return "".join([piece async for piece in stream])


def forgets(client: HostClient) -> bool:
    connection = client._connection
    return connection is not None and not connection._opened


async def test_the_beginning_comes_first_then_piece_by_piece_to_the_end(
    client: HostClient, registry: Registry, tmp_path: Path
) -> None:
    draft = await told(client, registry, tmp_path / "new", Script(otherwise=STORY, hold_back=2, score=0.7))

    assert (draft.text, draft.score, draft.completion_tokens) == ("once upon", 0.7, 2)
    assert draft.stream is not None
    assert [piece async for piece in draft.stream] == [" a", " time", " there", " was"]
    assert (draft.stream.finish_reason, draft.stream.completion_tokens) == ("stop", 6)
    assert forgets(client)


async def test_whoever_wants_it_whole_gets_it_whole(
    client: HostClient, registry: Registry, tmp_path: Path
) -> None:
    await told(client, registry, tmp_path / "new", Script(otherwise=STORY, hold_back=2))

    draft = await client.draft("support", 1, DraftRequest(text="tell"), 10)

    assert (draft.text, draft.stream) == (STORY, None)


async def test_a_version_without_a_prefix_gate_answers_whole(
    client: HostClient, registry: Registry, tmp_path: Path
) -> None:
    draft = await told(client, registry, tmp_path / "new", Script(otherwise=STORY))

    assert (draft.text, draft.stream) == (STORY, None)


async def test_many_streams_at_once_get_their_own_pieces(
    client: HostClient, registry: Registry, tmp_path: Path
) -> None:
    answers = {f"question {n}": " ".join(f"{n}-{word}" for word in range(20)) for n in range(20)}
    script = Script(answers=answers, hold_back=1)
    await client.load("support", 1, publish_script(registry, tmp_path / "new", script))

    async def heard(text: str) -> str:
        draft = await client.draft("support", 1, DraftRequest(text=text, is_streamed=True), 10)
        assert draft.stream is not None
        return draft.text + await to_the_end(draft.stream)

    assert await asyncio.gather(*(heard(text) for text in answers)) == list(answers.values())
    assert forgets(client)


async def test_streams_nobody_reads_any_more_are_not_written_to_their_end(
    client: HostClient, registry: Registry, tmp_path: Path
) -> None:
    """Two of them would keep both threads busy for a minute."""
    drafts = [await told(client, registry, tmp_path / "new", ENDLESS)]
    drafts.append(await client.draft("support", 1, STREAMED, 10))

    for draft in drafts:
        assert draft.stream is not None
        await anext(draft.stream)
        await draft.stream.aclose()

    assert (await client.draft("support", 1, STREAMED, 10)).text == "word"
    assert len(client._connection._opened if client._connection else ()) == 1


async def test_the_streams_of_a_worker_which_is_gone_are_not_written_to_their_end(
    client: HostClient, host: HostProcess, registry: Registry, tmp_path: Path
) -> None:
    other = HostClient(host.socket)
    assert await other.open(10)
    await told(other, registry, tmp_path / "new", ENDLESS)
    await other.draft("support", 1, STREAMED, 10)
    await client.load("support", 1, registry.folder("support", 1))

    await other.close()

    draft = await client.draft("support", 1, STREAMED, 10)
    assert draft.stream is not None
    await draft.stream.aclose()


async def test_a_specialist_which_breaks_off_is_a_reason(
    client: HostClient, registry: Registry, tmp_path: Path
) -> None:
    script = Script(otherwise=STORY, hold_back=2, breaks_after=1)
    draft = await told(client, registry, tmp_path / "new", script)

    assert draft.stream is not None
    assert await anext(draft.stream) == " a"
    with pytest.raises(SpecialistError, match="scripted refusal"):
        await anext(draft.stream)
    assert forgets(client)


async def test_an_opening_which_comes_too_late_leaves_nothing_behind(
    client: HostClient, registry: Registry, tmp_path: Path
) -> None:
    script = Script(otherwise=STORY, hold_back=2, delay_ms=200)
    await client.load("support", 1, publish_script(registry, tmp_path / "new", script))

    with pytest.raises(SpecialistError, match="late"):
        await client.draft("support", 1, STREAMED, 0.05)
    whole = await client.draft("support", 1, DraftRequest(text="tell"), 10)

    assert whole.text == STORY
    assert forgets(client)


async def test_a_host_which_dies_amid_an_answer_is_down(
    own_host: HostProcess, registry: Registry, tmp_path: Path
) -> None:
    client = HostClient(own_host.socket)
    assert await client.open(10)
    draft = await told(client, registry, tmp_path / "new", ENDLESS)
    assert draft.stream is not None
    await anext(draft.stream)

    own_host.send(signal.SIGKILL)

    with pytest.raises(SpecialistError, match="host down"):
        await asyncio.wait_for(to_the_end(draft.stream), 5)
    await draft.stream.aclose()
    await client.close()


async def test_demands_which_no_frame_holds_are_a_reason(client: HostClient) -> None:
    with pytest.raises(SpecialistError, match="demands too long"):
        await client.draft("support", 1, DraftRequest(text="tell", tools=b"[" + b" " * (1 << 20) + b"]"), 10)
