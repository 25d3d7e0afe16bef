"""What one machine changes, all have; nothing that the store loses is lost to them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from gateway.core import Audit, Certificate, Certification, Secret
from gateway.sharing.base import Config
from gateway.store.home import read_audit_key
from gateway.store.keys import hash_key
from tests.sharing.conftest import Machine, sync_all
from tests.support.builders import certified
from tests.support.valkey import RunningValkey

Create = Callable[..., Machine]
RIGHTS = "~{fleet}:* &{fleet}:* +@read +@write +@scripting +@connection +@pubsub -@dangerous +time"


def knows(machine: Machine, plain: str) -> bool:
    return machine.state.keys.find_by_hash(hash_key(plain.encode())) is not None


def audit_ids(machine: Machine) -> list[str]:
    return [audit.request_id for _, audit in machine.state.audits.since(0)]


def add_audits(machine: Machine, *ids: str) -> None:
    for each in ids:
        machine.state.audits.put(audited(each))
    machine.state.audits.flush()


def test_a_key_of_one_machine_is_good_on_the_other_until_it_is_revoked_there(machine: Create) -> None:
    a, b = machine("a"), machine("b")
    key_id, plain = a.state.keys.create("app")
    sync_all(a, b)
    assert knows(b, plain)

    b.state.keys.revoke(key_id)
    sync_all(b, a)
    assert not knows(a, plain)


def test_what_was_there_before_the_state_was_shared_is_shared(machine: Create) -> None:
    a, b = machine("a"), machine("b")
    with a.state.database.write() as connection:
        connection.execute("DELETE FROM outgoing")
    _, plain = a.state.keys.create("app")
    with a.state.database.write() as connection:
        connection.execute("DELETE FROM outgoing")
    sync_all(a, b)

    assert knows(b, plain)


def test_a_revocation_holds_against_a_rotation_made_at_once(machine: Create) -> None:
    a, b = machine("a"), machine("b")
    key_id, plain = a.state.keys.create("app")
    sync_all(a, b)

    a.state.keys.revoke(key_id)
    renewed = b.state.keys.rotate(key_id, 60)
    sync_all(a, b)
    sync_all(a, b)

    assert not any(knows(each, secret) for each in (a, b) for secret in (plain, renewed))


def test_a_freeze_crosses_and_ends_everywhere(machine: Create) -> None:
    a, b = machine("a"), machine("b")
    a.state.interventions.freeze("cards", "looks odd")
    sync_all(a, b)
    assert b.state.interventions.is_frozen("cards")

    b.state.interventions.unfreeze("cards")
    sync_all(b, a)
    assert not a.state.interventions.is_frozen("cards")


def test_a_pin_crosses_and_ends_everywhere(machine: Create) -> None:
    """Whichever machine learns the task next keeps the version that drafts."""
    a, b = machine("a"), machine("b")
    sync_all(a, b)
    a.state.pins.pin("cards")
    sync_all(a, b)
    assert b.state.pins.is_pinned("cards")

    b.state.pins.unpin("cards")
    sync_all(b, a)
    assert not a.state.pins.is_pinned("cards")


def test_of_a_freeze_and_its_end_made_at_once_the_freeze_holds(machine: Create) -> None:
    """The teacher answers, which is never wrong; an operator who wants otherwise says so again."""
    a, b = machine("a"), machine("b")
    a.state.interventions.freeze("cards", "first")
    sync_all(a, b)
    a.state.interventions.unfreeze("cards")
    b.state.interventions.unfreeze("cards")
    b.state.interventions.freeze("cards", "again")

    sync_all(a, b)
    sync_all(a, b)

    assert a.state.interventions.is_frozen("cards")
    assert b.state.interventions.is_frozen("cards")


def test_an_alarm_beats_a_certificate_that_knew_nothing_of_it(machine: Create) -> None:
    a, b = machine("a"), machine("b")
    live = certified("cards", 2)
    a.state.certifications.put(live)
    sync_all(a, b)

    b.state.certifications.put_if(0, in_alarm(live))
    a.state.certifications.put_if(0, msgspec.structs.replace(live, version=3))
    sync_all(a, b)
    sync_all(a, b)

    for each in (a, b):
        assert each.state.certifications.of("cards").stage == "alarm"
        assert each.state.certifications.of("cards").epoch == 1


def test_an_audit_is_on_every_machine_once(machine: Create, valkey: RunningValkey) -> None:
    a, b = machine("a"), machine("b")
    add_audits(a, "1", "2")
    add_audits(b, "3")
    sync_all(a, b)
    assert sorted(audit_ids(a)) == sorted(audit_ids(b)) == ["1", "2", "3"]

    # The answer to a call was lost, and everything is sent once more.
    for each in (a, b):
        each.synchronizer._audits.send_again(0.0)
    sync_all(a, b)
    assert sorted(audit_ids(a)) == sorted(audit_ids(b)) == ["1", "2", "3"]


def test_all_machines_choose_audits_by_the_key_of_the_first(machine: Create) -> None:
    a, b = machine("a"), machine("b")
    assert read_audit_key(a.home) != read_audit_key(b.home)
    sync_all(a, b)

    assert read_audit_key(a.home) == read_audit_key(b.home)


def test_an_emptied_store_empties_nothing_and_is_filled_again(machine: Create, valkey: RunningValkey) -> None:
    a, b = machine("a"), machine("b")
    _, plain = a.state.keys.create("app")
    add_audits(a, "1")
    b.state.interventions.freeze("cards")
    sync_all(a, b)

    valkey.admin.flushall()
    sync_all(a, b)
    newcomer = machine("c")
    sync_all(a, b, newcomer)

    for each in (a, b, newcomer):
        assert knows(each, plain)
        assert each.state.interventions.is_frozen("cards")
        assert audit_ids(each) == ["1"]


def test_an_older_copy_of_the_store_brings_nothing_back(machine: Create, valkey: RunningValkey) -> None:
    """As after a failover to a replica that lagged: a revoked key stays revoked."""
    a, b = machine("a"), machine("b")
    key_id, plain = a.state.keys.create("app")
    sync_all(a, b)
    old = {key: valkey.admin.dump(key) for key in valkey.admin.scan_iter()}
    a.state.keys.revoke(key_id)
    sync_all(a, b)

    valkey.admin.flushall()
    for key, value in old.items():
        valkey.admin.restore(key, 0, value)
    for each in (a, b):
        each.synchronizer._wait = None
    sync_all(a, b)
    newcomer = machine("c")
    sync_all(newcomer, a, b)

    assert not any(knows(each, plain) for each in (a, b, newcomer))


def test_what_is_changed_while_the_store_is_away_waits_on_disk(
    machine: Create, valkey: RunningValkey
) -> None:
    a, b = machine("a"), machine("b")
    sync_all(a, b)
    valkey.kill()
    _, plain = a.state.keys.create("app")
    add_audits(a, "1")
    assert "refused" in a.try_sync() or a.reports[-1].state == "away"

    valkey.start_again()
    again = machine("a")
    b.try_sync()
    sync_all(again, b)

    assert knows(b, plain)
    assert audit_ids(b) == ["1"]


def test_a_frozen_store_is_given_up_in_half_a_second(machine: Create, valkey: RunningValkey) -> None:
    a = machine("a")
    a.sync()
    valkey.freeze()
    assert "does not answer" in a.try_sync()

    valkey.thaw()
    assert a.try_sync() == ""
    assert [report.state for report in a.reports] == ["connected", "away", "connected"]


def test_a_machine_that_starts_while_the_store_is_away_reports_how_many_there_were(
    machine: Create, valkey: RunningValkey
) -> None:
    """Its share of the limits goes by them."""
    a, b = machine("a"), machine("b")
    sync_all(a, b)
    a.synchronizer._kept_at = 0.0
    a.sync()
    valkey.freeze()

    again = machine("a")
    again.try_sync()

    assert (again.reports[-1].state, again.reports[-1].machines) == ("away", again.contact.machines)
    assert again.contact.machines == 2


def test_a_full_store_is_away_until_it_takes_changes(machine: Create, valkey: RunningValkey) -> None:
    """It could be read; but an alarm could not be given."""
    a = machine("a")
    a.sync()
    valkey.admin.config_set("maxmemory", "1")
    assert "out of memory" in a.try_sync()

    valkey.admin.config_set("maxmemory", "0")
    assert a.try_sync() == ""


def test_a_wrong_password_is_named(machine: Create, valkey: RunningValkey) -> None:
    valkey.admin.config_set("requirepass", "another")

    assert "STEPDOWN_STATE_PASSWORD" in machine("a").try_sync()


def test_a_user_needs_no_rights_beyond_the_prefix(machine: Create, valkey: RunningValkey) -> None:
    """The rights that deploy/CLUSTER.md names."""
    valkey.admin.execute_command("ACL", "SETUSER", "gateway", "on", ">word", *RIGHTS.split())
    config = Config(url=f"redis://gateway@127.0.0.1:{valkey.port}", credential=Secret("word"), prefix="fleet")
    a, b = machine("a", config), machine("b", config)
    _, plain = a.state.keys.create("app")
    add_audits(a, "1")
    sync_all(a, b)

    assert knows(b, plain)
    assert audit_ids(b) == ["1"]
    assert not set(valkey.admin.scan_iter()) - set(valkey.admin.scan_iter(match="{fleet}:*"))


def test_machines_are_counted_and_their_policies_compared(machine: Create) -> None:
    a, b = machine("a"), machine("b", policies="others")
    sync_all(a, b)
    assert (a.contact.machines, a.reports[-1].other_policies) == (2, 1)

    b.synchronizer.leave()
    a.sync()
    assert (a.contact.machines, a.reports[-1].other_policies) == (1, 0)


def audited(request_id: str) -> Audit:
    facts: dict[str, Any] = {"task": "cards", "stratum": "new", "template": "feed", "version": 1}
    return Audit(request_id=request_id, at=time.time(), loss=0.0, score=0.9, **facts)


def in_alarm(live: Certification) -> Certification:
    def alarmed(each: Certificate) -> Certificate:
        return msgspec.structs.replace(each, stage="alarm", threshold=None)

    return msgspec.structs.replace(
        live, epoch=live.epoch + 1, certificates=tuple(map(alarmed, live.certificates))
    )
