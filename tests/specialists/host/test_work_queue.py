from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.core import DraftRequest
from gateway.registry.models import Registry
from gateway.specialists.base import Listener, Prediction
from gateway.specialists.host.listener import ReplyListener
from gateway.specialists.host.loaded_models import LoadedModels, Version
from gateway.specialists.host.work_queue import QueueLimits, WorkQueue
from gateway.specialists.protocol import (
    Done,
    Drafted,
    Failed,
    HostReply,
    LoadVersion,
    MakeDraft,
    Opened,
    Piece,
    UnloadVersion,
)
from gateway.specialists.runtimes.scripted import Script
from tests.specialists.host.fake_models import CancellableModels, GatedModels
from tests.specialists.hosting import FlatEncoder, ReplyInbox, publish_script, resources_of
from tests.support.waiting import PATIENCE_S

DELAY_MS = 20


@pytest.fixture
def folder(registry: Registry, tmp_path: Path) -> Path:
    script = Script(faults={"crash": "crash", "refuse": "refuse"}, delay_ms=DELAY_MS)
    return publish_script(registry, tmp_path / "trained", script, encoder=FlatEncoder.name)


@pytest.fixture
async def work_queue() -> AsyncIterator[WorkQueue]:
    work_queue = WorkQueue(LoadedModels(resources_of(FlatEncoder())), QueueLimits())
    yield work_queue
    work_queue.close()


@pytest.fixture
def models() -> Iterator[GatedModels]:
    models = GatedModels()
    yield models
    models.gate.set()


@pytest.fixture
async def gated(models: GatedModels) -> AsyncIterator[WorkQueue]:
    """A queue for two drafts at work and two that wait; none ends before the gate is open."""
    work_queue = WorkQueue(models, QueueLimits(threads=2, waiting=4))
    yield work_queue
    work_queue.close()


async def load(
    work_queue: WorkQueue, folder: Path, inbox: ReplyInbox, holder: object = "worker", number: int = 1
) -> HostReply:
    work_queue.load_version(LoadVersion(number, "support", 1, str(folder)), holder, inbox.to(number))
    return await inbox.get(number)


def make_draft(number: int, text: str = "hello", budget_ms: float = PATIENCE_S * 1_000) -> MakeDraft:
    return MakeDraft(number, "support", 1, DraftRequest(text=text), budget_ms)


def stream_draft(number: int) -> MakeDraft:
    request = DraftRequest(text="tell", is_streamed=True)
    return MakeDraft(number, "support", 1, request, PATIENCE_S * 1_000)


async def test_a_loaded_version_drafts(work_queue: WorkQueue, folder: Path, inbox: ReplyInbox) -> None:
    assert await load(work_queue, folder, inbox) == Done(1)

    work_queue.submit_draft(make_draft(2), inbox.to(2))

    reply = await inbox.get(2)
    assert isinstance(reply, Drafted)
    assert reply.prediction.text == "scripted"
    assert reply.latency_ms >= DELAY_MS


@pytest.mark.parametrize(("text", "reason"), [("crash", "specialist failed"), ("refuse", "scripted refusal")])
async def test_a_failing_specialist_is_a_reason(
    work_queue: WorkQueue, folder: Path, inbox: ReplyInbox, text: str, reason: str
) -> None:
    await load(work_queue, folder, inbox)

    work_queue.submit_draft(make_draft(2, text), inbox.to(2))

    reply = await inbox.get(2)
    assert isinstance(reply, Failed)
    assert reply.reason == reason


async def test_a_failure_never_quotes_the_prompt(
    work_queue: WorkQueue, folder: Path, inbox: ReplyInbox, caplog: pytest.LogCaptureFixture
) -> None:
    await load(work_queue, folder, inbox)

    work_queue.submit_draft(make_draft(2, "crash"), inbox.to(2))

    await inbox.get(2)
    assert "ZeroDivisionError" in caplog.text
    assert "scripted crash" not in caplog.text


async def test_more_work_than_allowed_is_refused_at_once(
    gated: WorkQueue, models: GatedModels, inbox: ReplyInbox
) -> None:
    for number in range(2, 7):
        gated.submit_draft(make_draft(number), inbox.to(number))

    assert await inbox.get(6) == Failed(6, "overloaded")
    models.gate.set()
    assert isinstance(await inbox.get(5), Drafted)


async def test_a_refusal_does_not_last(gated: WorkQueue, models: GatedModels, inbox: ReplyInbox) -> None:
    for number in range(2, 7):
        gated.submit_draft(make_draft(number), inbox.to(number))
    models.gate.set()
    await inbox.get(5)

    gated.submit_draft(make_draft(7), inbox.to(7))

    assert isinstance(await inbox.get(7), Drafted)


async def test_work_whose_time_is_over_is_not_begun(
    work_queue: WorkQueue, folder: Path, inbox: ReplyInbox
) -> None:
    await load(work_queue, folder, inbox)

    work_queue.submit_draft(make_draft(2, "crash", budget_ms=-1), inbox.to(2))

    reply = await inbox.get(2)
    assert isinstance(reply, Failed)
    assert reply.reason == "late"


async def test_cancelled_work_leaves_its_place(gated: WorkQueue, inbox: ReplyInbox) -> None:
    for number in (2, 3):
        gated.submit_draft(make_draft(number), inbox.to(number))
    waiting = [gated.submit_draft(make_draft(number), inbox.to(number)) for number in (4, 5)]

    for job in waiting:
        assert job is not None
        assert job.cancel()
    await asyncio.sleep(0)

    assert gated.submit_draft(make_draft(6), inbox.to(6)) is not None


async def test_a_version_stays_while_another_worker_wants_it(
    work_queue: WorkQueue, folder: Path, inbox: ReplyInbox
) -> None:
    await load(work_queue, folder, inbox, "one", 1)
    await load(work_queue, folder, inbox, "other", 2)

    work_queue.unload_version(UnloadVersion(3, "support", 1), "one", inbox.to(3))
    work_queue.submit_draft(make_draft(4), inbox.to(4))

    assert isinstance(await inbox.get(4), Drafted)


async def test_a_version_is_unloaded_with_the_last_worker_that_wants_it(
    work_queue: WorkQueue, folder: Path, inbox: ReplyInbox
) -> None:
    await load(work_queue, folder, inbox)

    work_queue.release_versions("worker")
    work_queue.submit_draft(make_draft(2), inbox.to(2))

    reply = await inbox.get(2)
    assert isinstance(reply, Failed)
    assert reply.reason == "version not loaded"


async def test_a_version_is_not_kept_for_a_worker_that_left_while_it_loaded(
    work_queue: WorkQueue, folder: Path, inbox: ReplyInbox
) -> None:
    work_queue.load_version(LoadVersion(1, "support", 1, str(folder)), "worker", inbox.to(1))
    work_queue.release_versions("worker")
    await inbox.get(1)

    work_queue.submit_draft(make_draft(2), inbox.to(2))

    reply = await inbox.get(2)
    assert isinstance(reply, Failed)
    assert reply.reason == "version not loaded"


async def test_a_changed_file_is_refused(work_queue: WorkQueue, folder: Path, inbox: ReplyInbox) -> None:
    (folder / "script.json").write_bytes(b'{"otherwise": "something else"}')

    reply = await load(work_queue, folder, inbox)

    assert isinstance(reply, Failed)
    assert reply.is_registry_error
    assert "script.json was changed" in reply.reason


async def test_a_version_of_another_encoder_is_refused(
    work_queue: WorkQueue, registry: Registry, tmp_path: Path, inbox: ReplyInbox
) -> None:
    folder = publish_script(registry, tmp_path / "trained", Script(), encoder="other@1")

    reply = await load(work_queue, folder, inbox)

    assert isinstance(reply, Failed)
    assert "'other@1'" in reply.reason


async def test_a_host_with_a_stuck_draft_gives_up(models: GatedModels, inbox: ReplyInbox) -> None:
    """A thread cannot be taken back: the host ends, its supervisor starts a new one."""
    gave_up = asyncio.Event()
    work_queue = WorkQueue(models, QueueLimits(stuck_s=0.01), gave_up.set)
    watching = asyncio.create_task(work_queue.watch(every_s=0.01))

    work_queue.submit_draft(make_draft(2), inbox.to(2))

    await asyncio.wait_for(gave_up.wait(), PATIENCE_S)
    watching.cancel()
    work_queue.close()


async def test_a_running_draft_hears_of_its_cancellation(inbox: ReplyInbox) -> None:
    """A thread cannot be stopped, so its runtime must end the work."""
    work_queue = WorkQueue(CancellableModels(), QueueLimits())
    replies: asyncio.Queue[HostReply] = asyncio.Queue()
    job = work_queue.submit_draft(stream_draft(2), replies.put_nowait)
    assert job is not None
    assert isinstance(await asyncio.wait_for(replies.get(), PATIENCE_S), Opened)

    had_not_begun = job.cancel()

    assert not had_not_begun
    assert await asyncio.wait_for(replies.get(), PATIENCE_S) == Failed(2, "cancelled")
    assert replies.empty()
    work_queue.close()


async def test_the_pieces_of_an_answer_come_between_its_opening_and_its_end(
    work_queue: WorkQueue, registry: Registry, tmp_path: Path, inbox: ReplyInbox
) -> None:
    script = Script(otherwise="word " * 40, hold_back=1)
    folder = publish_script(registry, tmp_path / "story", script, encoder=FlatEncoder.name)
    await load(work_queue, folder, inbox)
    replies: asyncio.Queue[HostReply] = asyncio.Queue()

    work_queue.submit_draft(stream_draft(2), replies.put_nowait)

    kinds = [type(await asyncio.wait_for(replies.get(), PATIENCE_S)) for _ in range(41)]
    assert kinds == [Opened, *[Piece] * 39, Drafted]


class SlowStory(LoadedModels):
    """Models that send five pieces, and let `pause_s` of their own clock pass before each."""

    def __init__(self, pause_s: float) -> None:
        super().__init__(resources_of(FlatEncoder()))
        self._pause_s = pause_s
        self._now_s = 0.0
        self.silences_s: list[float] = []

    def clock(self) -> float:
        return self._now_s

    def draft(self, version: Version, draft_request: DraftRequest, listener: Listener) -> Prediction:
        assert isinstance(listener, ReplyListener)
        for _ in range(5):
            self._now_s += self._pause_s
            self.silences_s.append(listener.silence_s())
            listener.on_piece("word")
        return Prediction(text="word" * 5, score=1.0)


async def test_a_long_answer_that_is_streamed_is_not_stuck() -> None:
    """It takes longer than a silent draft may: each piece starts the count again."""
    gave_up = asyncio.Event()
    models = SlowStory(pause_s=15.0)
    work_queue = WorkQueue(models, QueueLimits(stuck_s=20.0), gave_up.set, models.clock)
    watching = asyncio.create_task(work_queue.watch(every_s=0))
    replies: asyncio.Queue[HostReply] = asyncio.Queue()

    work_queue.submit_draft(stream_draft(2), replies.put_nowait)
    while not isinstance(reply := await asyncio.wait_for(replies.get(), PATIENCE_S), Drafted):
        pass

    assert not gave_up.is_set()
    assert reply.latency_ms == 75_000
    assert models.silences_s == [15.0] * 5
    watching.cancel()
    work_queue.close()
