"""One machine learns a task, and only what it certified while it did is published."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from gateway.sharing.base import Config
from gateway.sharing.election import TERM_S, TRY_AGAIN_S, Election
from gateway.sharing.mirror import SharedRows
from gateway.sharing.publication import Publication
from gateway.sharing.valkey import Valkey
from tests.sharing.conftest import Machine, sync_all
from tests.sharing.test_synchronizer import in_alarm
from tests.support.builders import certified
from tests.support.valkey import RunningValkey

LIVE = certified("cards", 2)


class Candidate:
    """The learner of one machine; `now` is its clock."""

    def __init__(self, machine: Machine, valkey: Valkey, name: str) -> None:
        self.now = 1_000.0
        self.machine = machine
        self.election = Election(valkey, name, lambda: self.now)
        self.publication = Publication(machine.state.database, SharedRows(valkey), self.election)


Create = Callable[[str], Candidate]


@pytest.fixture
def candidate(machine: Callable[..., Machine], valkey: RunningValkey) -> Create:
    return lambda name: Candidate(machine(name), Valkey(Config(url=valkey.url)), name)


def test_of_two_machines_one_learns_a_task(candidate: Create) -> None:
    a, b = candidate("a"), candidate("b")

    assert a.election.is_ours("cards")
    assert not b.election.is_ours("cards")
    assert b.election.is_ours("other")
    assert not a.election.is_ours("other")


def test_another_machine_learns_when_the_first_resigns(candidate: Create) -> None:
    a, b = candidate("a"), candidate("b")
    assert a.election.is_ours("cards")
    a.election.resign()

    assert b.election.is_ours("cards")


def test_an_operator_takes_a_task_over_from_the_machine_that_learns_it(candidate: Create) -> None:
    """What that one was at work on is refused; when the operator has done, it may learn again."""
    a, by_hand = candidate("a"), candidate("b")
    assert a.election.is_ours("cards")
    by_hand.election.take_over("cards")

    assert not a.publication.put_if(0, msgspec.structs.replace(LIVE, version=7))
    assert by_hand.publication.put_if(0, LIVE)
    a.election.renew()
    assert not a.election.is_ours("cards")

    by_hand.election.resign()
    a.now += TRY_AGAIN_S
    assert a.election.is_ours("cards")


def test_what_was_certified_after_the_term_is_refused(candidate: Create, valkey: RunningValkey) -> None:
    """The learner was stopped amid a training, and another took over: its token has no value any more."""
    a, b = candidate("a"), candidate("b")
    assert a.election.is_ours("cards")
    valkey.admin.delete("{stepdown}:learner:cards")
    assert b.election.is_ours("cards")

    # It does not know yet.
    assert a.election.is_ours("cards")
    assert not a.publication.put_if(0, LIVE)
    assert b.publication.put_if(0, msgspec.structs.replace(LIVE, version=7))
    sync_all(a.machine, b.machine)
    assert a.machine.state.certifications.of("cards").version == 7

    a.election.renew()
    assert not a.election.is_ours("cards")


def test_a_term_ends_on_a_machine_that_is_cut_off(candidate: Create, valkey: RunningValkey) -> None:
    a = candidate("a")
    assert a.election.is_ours("cards")
    valkey.freeze()
    a.election.renew()
    a.now += TERM_S + 1

    assert not a.election.is_ours("cards")
    assert not a.publication.put_if(0, LIVE)

    valkey.thaw()
    valkey.admin.delete("{stepdown}:learner:cards")
    a.now += TRY_AGAIN_S
    assert a.election.is_ours("cards")


def test_a_certificate_reaches_every_machine_and_is_not_sent_twice(candidate: Create) -> None:
    a, b = candidate("a"), candidate("b")
    assert a.publication.put_if(0, LIVE)
    sync_all(b.machine, a.machine)

    assert b.machine.state.certifications.of("cards").version == 2
    assert not a.machine.state.database.read("SELECT * FROM outgoing")


def test_an_alarm_of_any_machine_comes_before_a_certificate(candidate: Create) -> None:
    """Wherever the alarm is: at the others already, or here and not yet sent."""
    a, b = candidate("a"), candidate("b")
    assert a.publication.put_if(0, LIVE)
    sync_all(a.machine, b.machine)
    b.machine.state.certifications.put_if(0, in_alarm(LIVE))
    b.machine.sync()
    assert not a.publication.put_if(0, msgspec.structs.replace(LIVE, version=3))

    sync_all(a.machine, b.machine)
    alarmed = a.machine.state.certifications.of("cards")
    a.machine.state.certifications.put_if(1, msgspec.structs.replace(alarmed, epoch=2))
    assert not a.publication.put_if(1, msgspec.structs.replace(LIVE, epoch=1, version=3))
    sync_all(a.machine, b.machine)
    sync_all(a.machine, b.machine)

    for each in (a, b):
        assert each.machine.state.certifications.of("cards").epoch == 2


def test_nothing_is_published_without_the_others(candidate: Create, valkey: RunningValkey) -> None:
    a = candidate("a")
    assert a.election.is_ours("cards")
    valkey.freeze()

    assert not a.publication.put_if(0, LIVE)
    assert a.machine.state.certifications.of("cards").version is None
    valkey.thaw()
