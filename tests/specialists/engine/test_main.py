from __future__ import annotations

import os

import pytest

from gateway.core import DraftRequest
from gateway.ipc.framing import frame_payload
from gateway.specialists.engine.main import Inbox
from gateway.specialists.engine.protocol import Cancel, Generate, UnloadAdapter, encode

FORM = b'{"type": "json_object"}'


class Pipe:
    """What the parent writes to the desk."""

    def __init__(self) -> None:
        self.out, self._in = os.pipe()

    def send(self, *messages: Generate | Cancel | UnloadAdapter) -> None:
        """Write messages."""
        for message in messages:
            os.write(self._in, frame_payload(encode(message)))


def order(number: int, adapter: str = "a", form: bytes = b"") -> Generate:
    """Return an order."""
    return Generate(number, adapter, DraftRequest(text="hello", response_format=form), 8, None)


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Inbox:
    """A desk whose process goes on when its parent is gone."""
    monkeypatch.setattr(os, "_exit", lambda code: None)
    return Inbox(1)


def received(desk: Inbox, *messages: Generate | Cancel | UnloadAdapter) -> Inbox:
    """Return the desk after it has read `messages` and the end."""
    pipe = Pipe()
    pipe.send(*messages)
    os.close(pipe._in)
    desk.read_for_ever(pipe.out)
    os.close(pipe.out)
    return desk


def batches(desk: Inbox, count: int) -> list[list[int]]:
    """Return the numbers of the next batches."""
    return [[one.id for one in desk.next_batch()] for _ in range(count)]


def test_requests_of_one_adapter_share_a_batch(desk: Inbox) -> None:
    """The oldest comes first, with all who are like it."""
    received(desk, order(1), order(2, "b"), order(3))
    assert batches(desk, 2) == [[1, 3], [2]]


def test_a_batch_is_bounded(desk: Inbox) -> None:
    received(desk, *(order(number) for number in range(20)))
    assert [len(batch) for batch in batches(desk, 2)] == [16, 4]


def test_who_must_keep_to_a_form_is_alone(desk: Inbox) -> None:
    received(desk, order(1, form=FORM), order(2, form=FORM), order(3), order(4))
    assert batches(desk, 3) == [[1], [2], [3, 4]]


def test_who_leaves_before_his_turn_gets_none(desk: Inbox) -> None:
    received(desk, order(1), order(2), Cancel(1))
    assert batches(desk, 1) == [[2]]


def test_who_leaves_during_his_turn_is_known(desk: Inbox) -> None:
    received(desk, order(1), order(2))
    batches(desk, 1)
    received(desk, Cancel(2))
    assert [desk.has_left(1), desk.has_left(2)] == [False, True]


def test_an_idle_engine_frees_adapters_too(desk: Inbox) -> None:
    received(desk, UnloadAdapter("a"))
    assert batches(desk, 1) == [[]]
    assert (desk.forgotten(), desk.forgotten()) == (["a"], [])
