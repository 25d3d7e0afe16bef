"""A pin holds, for every process, until it is taken out."""

from __future__ import annotations

from gateway.store.database import Database
from gateway.store.pins import PinStore


def test_a_pin_holds_until_it_is_taken_out(database: Database, other_process: Database) -> None:
    pins, others = PinStore(database), PinStore(other_process)

    pins.pin("task")
    pins.pin("task")
    assert (others.is_pinned("task"), others.is_pinned("other")) == (True, False)

    pins.unpin("task")
    assert not others.is_pinned("task")
