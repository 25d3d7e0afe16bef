"""An object that one machine's client made is that tenant's on every machine."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from gateway.errors import RequestError
from gateway.sharing.base import Config
from gateway.sharing.owners import FleetObjects, SharedOwners
from gateway.sharing.valkey import Valkey
from tests.sharing.conftest import Machine, sync_all
from tests.support.valkey import RunningValkey

Create = Callable[..., Machine]


def objects_of(machine: Machine, valkey: RunningValkey) -> FleetObjects:
    return FleetObjects(machine.state.objects, SharedOwners(Valkey(Config(url=valkey.url), 0.25)))


def make(machine: Machine, object_id: str, tenant: str) -> None:
    machine.state.objects.add([(object_id, "response")], tenant)
    machine.state.objects.flush()


def test_an_object_of_another_machine_is_found(machine: Create, valkey: RunningValkey) -> None:
    a, b = machine("a"), machine("b")
    make(a, "resp_1", "acme")
    sync_all(a, b)

    assert objects_of(b, valkey).find_owners(["resp_1", "resp_2"]) == {"resp_1": "acme"}


def test_one_that_was_made_a_moment_ago_is_waited_for(machine: Create, valkey: RunningValkey) -> None:
    """The client has the answer of one machine, and asks the next before that has told."""
    a, b = machine("a"), machine("b")
    make(a, "resp_1", "acme")
    later = threading.Timer(0.1, a.sync)
    later.start()

    assert objects_of(b, valkey).find_owners(["resp_1"]) == {"resp_1": "acme"}
    later.join()


def test_the_first_owner_stays_unless_an_operator_claims(machine: Create, valkey: RunningValkey) -> None:
    a, b = machine("a"), machine("b")
    make(a, "file-1", "acme")
    sync_all(a, b)
    make(b, "file-1", "other")
    sync_all(b, a)
    newcomer = machine("c")
    sync_all(newcomer)
    assert objects_of(newcomer, valkey).find_owners(["file-1"]) == {"file-1": "acme"}

    newcomer.state.objects.claim("file-1", "file", "third")
    sync_all(newcomer, a, b)
    for each in (a, b, newcomer):
        assert objects_of(each, valkey).find_owners(["file-1"]) == {"file-1": "third"}


def test_what_cannot_be_asked_for_is_503_and_what_is_known_is_not(
    machine: Create, valkey: RunningValkey
) -> None:
    a = machine("a")
    a.sync()
    make(a, "resp_1", "acme")
    valkey.kill()
    objects = objects_of(a, valkey)

    assert objects.find_owners(["resp_1"]) == {"resp_1": "acme"}
    with pytest.raises(RequestError) as refused:
        objects.find_owners(["resp_2"])
    assert refused.value.status == 503


def test_owners_survive_an_emptied_store(machine: Create, valkey: RunningValkey) -> None:
    a, b = machine("a"), machine("b")
    _, _ = a.state.keys.create("app")
    make(a, "resp_1", "acme")
    sync_all(a, b)
    valkey.admin.flushall()
    sync_all(a, b)

    assert objects_of(b, valkey).find_owners(["resp_1"]) == {"resp_1": "acme"}
