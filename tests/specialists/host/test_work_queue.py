from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core import DraftRequest
from gateway.registry.models import Registry
from gateway.specialists.host.loaded_models import LoadedModels
from gateway.specialists.host.work_queue import Limits, WorkQueue
from gateway.specialists.protocol import (
    Ask,
    Done,
    Drafted,
    Failed,
    Load,
    Opened,
    Piece,
    Reply,
    Unload,
)
from gateway.specialists.runtimes.scripted import Script
from tests.specialists.hosting import FlatEncoder, Inbox, publish_script, stock_of

DELAY_MS = 100


@pytest.fixture
def folder(registry: Registry, tmp_path: Path) -> Path:
    script = Script(faults={"crash": "crash", "refuse": "refuse"}, delay_ms=DELAY_MS)
    return publish_script(registry, tmp_path / "trained", script, encoder=FlatEncoder.name)


@pytest.fixture
async def work_queue() -> AsyncIterator[WorkQueue]:
    bench = WorkQueue(LoadedModels(stock_of(FlatEncoder())), Limits(waiting=4))
    yield bench
    bench.close()


async def load(bench: WorkQueue, folder: Path, inbox: Inbox, holder: object, number: int = 1) -> Reply:
    bench.load(Load(number, "support", 1, str(folder)), holder, inbox.to(number))
    return await inbox.get(number)


def ask(number: int, text: str, budget_ms: float = 10_000) -> Ask:
    return Ask(number, "support", 1, DraftRequest(text=text), budget_ms)


async def test_a_loaded_version_drafts(work_queue: WorkQueue, folder: Path, inbox: Inbox) -> None:
    assert await load(work_queue, folder, inbox, "worker") == Done(1)

    work_queue.draft(ask(2, "hello"), inbox.to(2))

    reply = await inbox.get(2)
    assert isinstance(reply, Drafted)
    assert reply.text == "scripted"
    assert reply.latency_ms >= DELAY_MS


@pytest.mark.parametrize(("text", "reason"), [("crash", "specialist failed"), ("refuse", "scripted refusal")])
async def test_a_failing_specialist_is_a_reason(
    work_queue: WorkQueue, folder: Path, inbox: Inbox, text: str, reason: str
) -> None:
    await load(work_queue, folder, inbox, "worker")

    work_queue.draft(ask(2, text), inbox.to(2))

    reply = await inbox.get(2)
    assert isinstance(reply, Failed)
    assert reply.reason == reason


async def test_a_failure_never_quotes_the_prompt(
    work_queue: WorkQueue, folder: Path, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    await load(work_queue, folder, inbox, "worker")

    work_queue.draft(ask(2, "crash"), inbox.to(2))

    await inbox.get(2)
    assert "ZeroDivisionError" in caplog.text
    assert "scripted crash" not in caplog.text


async def test_more_work_than_allowed_is_refused_at_once(
    work_queue: WorkQueue, folder: Path, inbox: Inbox
) -> None:
    await load(work_queue, folder, inbox, "worker")

    for number in range(2, 7):
        work_queue.draft(ask(number, "hello"), inbox.to(number))

    assert await inbox.get(6) == Failed(6, "specialists", "overloaded", "")
    assert isinstance(await inbox.get(5), Drafted)


async def test_a_refusal_does_not_last(work_queue: WorkQueue, folder: Path, inbox: Inbox) -> None:
    await load(work_queue, folder, inbox, "worker")
    for number in range(2, 7):
        work_queue.draft(ask(number, "hello"), inbox.to(number))
    await inbox.get(5)

    work_queue.draft(ask(7, "hello"), inbox.to(7))

    assert isinstance(await inbox.get(7), Drafted)


async def test_work_whose_time_is_over_is_not_begun(
    work_queue: WorkQueue, folder: Path, inbox: Inbox
) -> None:
    await load(work_queue, folder, inbox, "worker")

    work_queue.draft(ask(2, "crash", budget_ms=-1), inbox.to(2))

    reply = await inbox.get(2)
    assert isinstance(reply, Failed)
    assert reply.reason == "late"


async def test_cancelled_work_makes_room(work_queue: WorkQueue, folder: Path, inbox: Inbox) -> None:
    await load(work_queue, folder, inbox, "worker")
    for number in (2, 3):
        work_queue.draft(ask(number, "hello"), inbox.to(number))
    waiting = [work_queue.draft(ask(number, "hello"), inbox.to(number)) for number in (4, 5)]

    for job in waiting:
        assert job is not None
        assert job.cancel()
    await asyncio.sleep(0)

    assert work_queue.draft(ask(6, "hello"), inbox.to(6)) is not None


async def test_a_version_stays_while_another_worker_wants_it(
    work_queue: WorkQueue, folder: Path, inbox: Inbox
) -> None:
    await load(work_queue, folder, inbox, "one", 1)
    await load(work_queue, folder, inbox, "other", 2)

    work_queue.unload(Unload(3, "support", 1), "one", inbox.to(3))
    work_queue.draft(ask(4, "hello"), inbox.to(4))

    assert isinstance(await inbox.get(4), Drafted)


async def test_a_version_goes_with_the_last_worker_which_wants_it(
    work_queue: WorkQueue, folder: Path, inbox: Inbox
) -> None:
    await load(work_queue, folder, inbox, "worker")

    work_queue.release_all("worker")
    work_queue.draft(ask(2, "hello"), inbox.to(2))

    reply = await inbox.get(2)
    assert isinstance(reply, Failed)
    assert reply.reason == "version not loaded"


async def test_a_version_is_not_kept_for_a_worker_which_left_while_it_loaded(
    work_queue: WorkQueue, folder: Path, inbox: Inbox
) -> None:
    work_queue.load(Load(1, "support", 1, str(folder)), "worker", inbox.to(1))
    work_queue.release_all("worker")
    await inbox.get(1)

    work_queue.draft(ask(2, "hello"), inbox.to(2))

    reply = await inbox.get(2)
    assert isinstance(reply, Failed)
    assert reply.reason == "version not loaded"


async def test_a_changed_file_is_refused(work_queue: WorkQueue, folder: Path, inbox: Inbox) -> None:
    (folder / "script.json").write_bytes(b'{"otherwise": "something else"}')

    reply = await load(work_queue, folder, inbox, "worker")

    assert isinstance(reply, Failed)
    assert reply.room == "registry"
    assert "script.json was changed" in reply.reason


async def test_a_version_of_another_encoder_is_refused(
    work_queue: WorkQueue, registry: Registry, tmp_path: Path, inbox: Inbox
) -> None:
    folder = publish_script(registry, tmp_path / "trained", Script(), encoder="other@1")

    reply = await load(work_queue, folder, inbox, "worker")

    assert isinstance(reply, Failed)
    assert "'other@1'" in reply.reason


async def test_a_host_with_a_stuck_draft_gives_up(folder: Path, inbox: Inbox) -> None:
    """A thread cannot be taken back: the host ends, its supervisor starts a new one."""
    gave_up = asyncio.Event()
    bench = WorkQueue(
        LoadedModels(stock_of(FlatEncoder())), Limits(stuck_s=DELAY_MS / 1_000 / 4), gave_up.set
    )
    watching = asyncio.create_task(bench.watch(every_s=0.01))
    await load(bench, folder, inbox, "worker")

    bench.draft(ask(2, "hello"), inbox.to(2))

    await asyncio.wait_for(gave_up.wait(), 5)
    watching.cancel()
    bench.close()


def story(registry: Registry, scratch: Path, piece_delay_ms: float) -> Path:
    """Publish a specialist which tells 40 words, the first of them at once."""
    script = Script(otherwise="word " * 40, hold_back=1, piece_delay_ms=piece_delay_ms)
    return publish_script(registry, scratch, script, encoder=FlatEncoder.name)


def stream(number: int) -> Ask:
    return Ask(number, "support", 1, DraftRequest(text="tell", is_streamed=True), 10_000)


async def test_a_running_draft_ends_when_nobody_waits_any_more(
    work_queue: WorkQueue, registry: Registry, tmp_path: Path, inbox: Inbox
) -> None:
    """A thread cannot be stopped, but told."""
    await load(work_queue, story(registry, tmp_path / "story", piece_delay_ms=500), inbox, "worker")
    replies: asyncio.Queue[Reply] = asyncio.Queue()
    job = work_queue.draft(stream(2), replies.put_nowait)
    assert job is not None
    assert isinstance(await asyncio.wait_for(replies.get(), 10), Opened)

    had_not_begun = job.cancel()

    assert not had_not_begun
    assert await asyncio.wait_for(replies.get(), 10) == Failed(2, "specialists", "cancelled", "")
    assert replies.empty()


async def test_the_pieces_of_an_answer_come_between_its_opening_and_its_end(
    work_queue: WorkQueue, registry: Registry, tmp_path: Path, inbox: Inbox
) -> None:
    await load(work_queue, story(registry, tmp_path / "story", piece_delay_ms=0), inbox, "worker")
    replies: asyncio.Queue[Reply] = asyncio.Queue()

    work_queue.draft(stream(2), replies.put_nowait)

    kinds = [type(await asyncio.wait_for(replies.get(), 10)) for _ in range(41)]
    assert kinds == [Opened, *[Piece] * 39, Drafted]


async def test_a_long_answer_which_is_heard_of_is_not_stuck(
    registry: Registry, tmp_path: Path, inbox: Inbox
) -> None:
    """Five times as long as a silent draft may be."""
    gave_up = asyncio.Event()
    bench = WorkQueue(LoadedModels(stock_of(FlatEncoder())), Limits(stuck_s=0.4), gave_up.set)
    watching = asyncio.create_task(bench.watch(every_s=0.01))
    await load(bench, story(registry, tmp_path / "story", piece_delay_ms=50), inbox, "worker")
    replies: asyncio.Queue[Reply] = asyncio.Queue()

    bench.draft(stream(2), replies.put_nowait)
    while not isinstance(await asyncio.wait_for(replies.get(), 10), Drafted):
        pass

    assert not gave_up.is_set()
    watching.cancel()
    bench.close()
