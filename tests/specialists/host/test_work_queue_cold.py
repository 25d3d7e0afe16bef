"""Drafts of versions that left memory wait for their files, and nobody else does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.core import DraftRequest
from gateway.specialists.host.work_queue import QueueLimits, WorkQueue
from gateway.specialists.protocol import Drafted, Failed, MakeDraft
from tests.specialists.host.fake_models import ColdModels
from tests.specialists.hosting import ReplyInbox
from tests.support.waiting import PATIENCE_S

BUDGET_MS = PATIENCE_S * 1_000


def make_draft(number: int, task: str) -> MakeDraft:
    return MakeDraft(number, task, 1, DraftRequest(text="hello"), BUDGET_MS)


@pytest.fixture
def models() -> Iterator[ColdModels]:
    models = ColdModels()
    yield models
    models.gate.set()


@pytest.fixture
async def work_queue(models: ColdModels) -> AsyncIterator[WorkQueue]:
    """Two threads, and four places each for what is in memory and for what is not."""
    work_queue = WorkQueue(models, QueueLimits(threads=2, waiting=4))
    yield work_queue
    work_queue.close()


async def test_what_is_in_memory_does_not_wait_for_what_is_not(
    work_queue: WorkQueue, models: ColdModels, inbox: ReplyInbox
) -> None:
    for number in range(4):
        work_queue.submit_draft(make_draft(number, "cold"), inbox.to(number))
    for number in range(4, 8):
        work_queue.submit_draft(make_draft(number, "warm"), inbox.to(number))

    assert [type(await inbox.get(number)) for number in range(4, 8)] == [Drafted] * 4
    models.gate.set()
    assert [type(await inbox.get(number)) for number in range(4)] == [Drafted] * 4


async def test_what_is_not_in_memory_has_places_of_its_own(work_queue: WorkQueue, inbox: ReplyInbox) -> None:
    for number in range(5):
        work_queue.submit_draft(make_draft(number, "cold"), inbox.to(number))
    work_queue.submit_draft(make_draft(5, "warm"), inbox.to(5))

    assert await inbox.get(4) == Failed(4, "overloaded")
    assert isinstance(await inbox.get(5), Drafted)
