"""From a complaint, whichever worker took it, to the row of the answer that it speaks of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core import Draft
from gateway.harvest.base import Row
from gateway.harvest.recent_answers import RecentAnswers
from gateway.processes.complaints import RECENT_S, WAIT_S, ComplaintWatch
from gateway.store.database import Database
from gateway.store.reviews import Feedback, Rating, ReviewStore
from tests.support.builders import NOON, outcome, reading, request


class Sink:
    """Keeps rows in a list while it has room."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.has_room = True

    def put(self, row: Row) -> bool:
        if self.has_room:
            self.rows.append(row)
        return self.has_room

    def flush(self) -> None: ...

    def close(self) -> None: ...


class Machine:
    """Two workers over one store of reviews; answers are served by the first."""

    def __init__(self, path: Path) -> None:
        self.now = NOON
        self.databases = [Database(path), Database(path)]
        self.reviews = ReviewStore(self.databases[0], clock=lambda: self.now)
        self.recent = RecentAnswers(1 << 20)
        self.sink = Sink()
        self.watch = ComplaintWatch(self.reviews, self.recent, self.sink, clock=lambda: self.now)
        other = ReviewStore(self.databases[1], clock=lambda: self.now)
        self.other_sink = Sink()
        self.other = ComplaintWatch(other, RecentAnswers(1 << 20), self.other_sink, clock=lambda: self.now)
        self.taker = other
        self.look()

    def serve(self, request_id: str = "r1") -> None:
        """Let the specialist of the first worker answer."""
        draft = Draft(text="refund", score=0.9, task="cards", version=2)
        asked = request(id=request_id, tenant="shop")
        self.recent(outcome(asked, decision="local", draft=draft, at=self.now), reading())

    def complain(
        self,
        request_id: str = "r1",
        *,
        tenant: str = "shop",
        caller: str = "key-1",
        rating: Rating = "down",
        answer: str = "",
    ) -> None:
        """Let the second worker take feedback."""
        said = Feedback(
            request_id=request_id, tenant=tenant, caller=caller, rating=rating, answer=answer, at=self.now
        )
        self.taker.put_feedback(said)
        self.taker.flush()

    def look(self) -> list[str]:
        """Let both look; return the requests that were harvested, ever."""
        self.watch.look()
        self.other.look()
        assert self.other_sink.rows == [], "the other worker has answered nothing"
        return [row.request_id for row in self.sink.rows]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path / "state.db")
    yield machine
    for database in machine.databases:
        database.close()


def test_the_worker_that_answered_harvests_what_another_was_told_of(machine: Machine) -> None:
    machine.serve("r1")
    machine.serve("r2")

    machine.complain("r2")

    assert machine.look() == ["r2"]
    assert (machine.sink.rows[0].is_local, machine.sink.rows[0].draft) == (True, "refund")


def test_a_second_complaint_makes_no_second_row(machine: Machine) -> None:
    machine.serve()
    machine.complain()
    machine.look()

    machine.complain(answer="invoice")

    assert machine.look() == ["r1"]


def test_praise_is_no_reason_to_keep_a_text(machine: Machine) -> None:
    machine.serve()
    machine.complain(rating="up")
    assert machine.look() == []

    machine.complain(rating="up", answer="a better one")
    assert machine.look() == ["r1"], "who proposes an answer wants it reviewed"


def test_others_have_no_say_and_take_nothing_away(machine: Machine) -> None:
    machine.serve()
    machine.complain(tenant="elsewhere")
    machine.complain(caller="key-2")
    assert machine.look() == []

    machine.complain()
    assert machine.look() == ["r1"]


def test_a_complaint_that_is_faster_than_its_answers_outcome_waits_for_it(machine: Machine) -> None:
    machine.complain("r1")
    machine.complain("r2")
    assert machine.look() == []

    machine.now += WAIT_S / 2
    machine.serve("r1")
    assert machine.look() == ["r1"]

    machine.now += WAIT_S
    machine.look()
    machine.serve("r2")
    assert machine.look() == ["r1"], "after that it is lost"


def test_a_full_outbox_is_tried_again(machine: Machine) -> None:
    machine.serve()
    machine.complain()
    machine.sink.has_room = False
    assert machine.look() == []

    machine.sink.has_room = True
    assert machine.look() == ["r1"]


def test_what_was_asked_an_hour_ago_is_remembered_no_more(machine: Machine) -> None:
    machine.serve("r1")
    machine.now += RECENT_S / 2
    machine.serve("r2")
    machine.now += RECENT_S / 2
    machine.look()

    machine.complain("r1")
    machine.complain("r2")

    assert machine.look() == ["r2"]


def test_to_forget_anything_is_to_forget_what_is_remembered(machine: Machine) -> None:
    """Whose it was is kept nowhere, so that all of it goes."""
    machine.serve("r1")
    machine.now += 1
    machine.taker.forget(["another"])
    machine.now += 1
    machine.serve("r2")

    machine.complain("r1")
    machine.complain("r2")

    assert machine.look() == ["r2"]


def test_what_was_said_before_a_worker_began_is_not_looked_for(machine: Machine) -> None:
    machine.complain("r1")

    late = ComplaintWatch(machine.reviews, machine.recent, machine.sink, clock=lambda: machine.now)
    machine.serve("r1")
    late.look()

    assert machine.sink.rows == []
