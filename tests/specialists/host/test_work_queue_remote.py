"""Drafts made in other processes are waited for beside this process's own work."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator

import pytest

from gateway.core import DraftRequest
from gateway.specialists.base import Listener, Prediction
from gateway.specialists.host.loaded_models import LoadedModels, Version
from gateway.specialists.host.work_queue import Limits, WorkQueue
from gateway.specialists.protocol import Ask, Drafted, Embed, Embedded, Failed
from tests.specialists.hosting import FlatEncoder, Inbox, stock_of


class Abroad(LoadedModels):
    """A fleet whose drafts are made elsewhere, and wait for each other: `together` at a time."""

    def __init__(self, together: int) -> None:
        super().__init__(stock_of(FlatEncoder()))
        self._table = threading.Barrier(together, timeout=10)

    def is_remote(self, version: Version) -> bool:
        return True

    def draft(self, version: Version, draft_request: DraftRequest, listener: Listener) -> Prediction:
        self._table.wait()
        return Prediction(text=draft_request.text, score=1.0)


def ask(number: int, text: str) -> Ask:
    return Ask(number, "support", 1, DraftRequest(text=text), 10_000)


@pytest.fixture
async def abroad() -> AsyncIterator[WorkQueue]:
    """One thread and one place for work of this process; four threads and eight places for other."""
    bench = WorkQueue(Abroad(4), Limits(threads=1, waiting=1, remote_threads=4))
    yield bench
    bench.close()


async def test_drafts_made_elsewhere_are_waited_for_all_at_once(abroad: WorkQueue, inbox: Inbox) -> None:
    """More than there are threads for this process's own work: only so can they be batched there."""
    for number in range(4):
        abroad.draft(ask(number, f"text {number}"), inbox.to(number))

    replies = [await inbox.get(number) for number in range(4)]

    assert [reply.text for reply in replies if isinstance(reply, Drafted)] == [f"text {n}" for n in range(4)]


async def test_twice_as_many_as_are_made_at_once_may_wait(abroad: WorkQueue, inbox: Inbox) -> None:
    for number in range(9):
        abroad.draft(ask(number, "hello"), inbox.to(number))

    replies = [await inbox.get(number) for number in range(9)]

    assert [type(reply) for reply in replies[:8]] == [Drafted] * 8
    assert replies[8] == Failed(8, "specialists", "overloaded", "")


async def test_drafts_made_elsewhere_take_no_room_from_this_processs_work(
    abroad: WorkQueue, inbox: Inbox
) -> None:
    for number in range(3):
        abroad.draft(ask(number, "waits for a fourth"), inbox.to(number))

    abroad.draft(Embed(8, "hello", 10_000), inbox.to(8))
    abroad.draft(Embed(9, "hello", 10_000), inbox.to(9))

    assert isinstance(await inbox.get(8), Embedded)
    assert await inbox.get(9) == Failed(9, "specialists", "overloaded", "")
    abroad.draft(ask(3, "the fourth"), inbox.to(3))
    assert isinstance(await inbox.get(0), Drafted)
