"""Drafts of another process are waited for beside this process's own work."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.core import DraftRequest
from gateway.specialists.host.work_queue import QueueLimits, WorkQueue
from gateway.specialists.protocol import Drafted, Embedded, EmbedText, Failed, MakeDraft
from tests.specialists.host.fake_models import RemoteModels
from tests.specialists.hosting import ReplyInbox
from tests.support.waiting import PATIENCE_S

BUDGET_MS = PATIENCE_S * 1_000


def make_draft(number: int, text: str) -> MakeDraft:
    return MakeDraft(number, "support", 1, DraftRequest(text=text), BUDGET_MS)


@pytest.fixture
async def work_queue() -> AsyncIterator[WorkQueue]:
    """One thread and one place for local work; four threads and eight places for remote work."""
    work_queue = WorkQueue(RemoteModels(4), QueueLimits(threads=1, waiting=1, remote_threads=4))
    yield work_queue
    work_queue.close()


async def test_remote_drafts_are_waited_for_all_at_once(work_queue: WorkQueue, inbox: ReplyInbox) -> None:
    """More than there are threads for local work: only so can the other process batch them."""
    for number in range(4):
        work_queue.submit_draft(make_draft(number, f"text {number}"), inbox.to(number))

    replies = [await inbox.get(number) for number in range(4)]

    texts = [reply.prediction.text for reply in replies if isinstance(reply, Drafted)]
    assert texts == [f"text {n}" for n in range(4)]


async def test_twice_as_many_remote_drafts_as_threads_are_accepted(
    work_queue: WorkQueue, inbox: ReplyInbox
) -> None:
    for number in range(9):
        work_queue.submit_draft(make_draft(number, "hello"), inbox.to(number))

    replies = [await inbox.get(number) for number in range(9)]

    assert [type(reply) for reply in replies[:8]] == [Drafted] * 8
    assert replies[8] == Failed(8, "overloaded")


async def test_remote_drafts_take_no_place_of_local_work(work_queue: WorkQueue, inbox: ReplyInbox) -> None:
    for number in range(3):
        work_queue.submit_draft(make_draft(number, "waits for a fourth"), inbox.to(number))

    work_queue.submit_draft(EmbedText(8, "hello", BUDGET_MS), inbox.to(8))
    work_queue.submit_draft(EmbedText(9, "hello", BUDGET_MS), inbox.to(9))

    assert isinstance(await inbox.get(8), Embedded)
    assert await inbox.get(9) == Failed(9, "overloaded")
    work_queue.submit_draft(make_draft(3, "the fourth"), inbox.to(3))
    assert isinstance(await inbox.get(0), Drafted)
