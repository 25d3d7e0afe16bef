from __future__ import annotations

import os

import pytest

from gateway.core import DraftRequest
from gateway.specialists.engine.main import Inbox
from gateway.specialists.engine.protocol import EngineRequest, Generate, UnloadAdapter
from gateway.specialists.protocol import Cancel, encode_frame

JSON_OBJECT = b'{"type": "json_object"}'


def generate(number: int, adapter: str = "a", response_format: bytes = b"") -> Generate:
    draft_request = DraftRequest(text="hello", response_format=response_format)
    return Generate(number, adapter, draft_request, 8, None)


@pytest.fixture
def inbox(monkeypatch: pytest.MonkeyPatch) -> Inbox:
    """An inbox in a process that goes on when its parent is gone."""
    monkeypatch.setattr(os, "_exit", lambda code: None)
    return Inbox(1)


def receive(inbox: Inbox, *messages: EngineRequest) -> None:
    """Let the inbox read `messages` and the end of its pipe."""
    reader, writer = os.pipe()
    for message in messages:
        os.write(writer, encode_frame(message))
    os.close(writer)
    inbox.read_requests(reader)
    os.close(reader)


def next_batches(inbox: Inbox, count: int) -> list[list[int]]:
    """Return the numbers of the next batches."""
    return [[request.id for request in inbox.next_batch()] for _ in range(count)]


def test_requests_of_one_adapter_share_a_batch(inbox: Inbox) -> None:
    """The oldest comes first, with all that are like it."""
    receive(inbox, generate(1), generate(2, "b"), generate(3))
    assert next_batches(inbox, 2) == [[1, 3], [2]]


def test_a_batch_is_bounded(inbox: Inbox) -> None:
    receive(inbox, *(generate(number) for number in range(20)))
    assert [len(batch) for batch in next_batches(inbox, 2)] == [16, 4]


def test_a_request_with_a_schema_is_alone_in_its_batch(inbox: Inbox) -> None:
    receive(
        inbox,
        generate(1, response_format=JSON_OBJECT),
        generate(2, response_format=JSON_OBJECT),
        generate(3),
        generate(4),
    )
    assert next_batches(inbox, 3) == [[1], [2], [3, 4]]


def test_a_request_cancelled_before_its_turn_gets_none(inbox: Inbox) -> None:
    receive(inbox, generate(1), generate(2), Cancel(1))
    assert next_batches(inbox, 1) == [[2]]


def test_a_cancellation_during_the_work_is_seen(inbox: Inbox) -> None:
    receive(inbox, generate(1), generate(2))
    next_batches(inbox, 1)
    receive(inbox, Cancel(2))
    assert [inbox.is_cancelled(1), inbox.is_cancelled(2)] == [False, True]


def test_an_idle_engine_unloads_adapters_too(inbox: Inbox) -> None:
    receive(inbox, UnloadAdapter("a"))
    assert next_batches(inbox, 1) == [[]]
    assert (inbox.take_unloads(), inbox.take_unloads()) == (["a"], [])
