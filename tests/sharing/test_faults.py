"""What goes wrong among machines besides an outage: names, clocks, versions, passwords, damaged rows."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gateway.core import Secret
from gateway.sharing.base import Config
from gateway.sharing.contact import Contact
from gateway.sharing.fleet import HELD_S
from gateway.store.home import read_audit_key, read_machine_name, replace_audit_key
from gateway.store.shared_counters import Counters, create_counters
from tests.sharing.conftest import Machine, sync_all
from tests.sharing.test_synchronizer import add_audits, audit_ids, knows
from tests.support.valkey import RunningValkey

Create = Callable[..., Machine]
ROWS, CHANGED, NEWEST = "{stepdown}:rows", "{stepdown}:changed", "{stepdown}:newest"


def put_raw(valkey: RunningValkey, field: str, packed: bytes) -> None:
    """Put a row there as another program would."""
    revision = time.time_ns() // 1000 + 10_000_000
    valkey.admin.hset(ROWS, field, f"{revision} ".encode() + packed)
    valkey.admin.zadd(CHANGED, {field: revision})
    valkey.admin.set(NEWEST, revision)


def copy_home(source: Machine, name: str) -> None:
    """As who clones a machine's disk."""
    folder = source.home.folder.parent / name
    folder.mkdir()
    for file in ("machine", "audit.key"):
        shutil.copy(source.home.folder / file, folder / file)


def test_of_two_machines_with_one_name_the_second_goes_on_alone(machine: Create) -> None:
    a = machine("a")
    a.sync()
    copy_home(a, "copy")
    copy = machine("copy")
    assert read_machine_name(copy.home) == read_machine_name(a.home)

    for _ in range(3):
        assert "under this one's name" in copy.try_sync()
        assert a.try_sync() == ""
    assert (copy.reports[-1].state, a.reports[-1].state) == ("away", "connected")
    assert not copy.contact.has_been, "it was never ready, nor are its keys known to be good"


def test_a_name_is_free_once_nobody_uses_it(machine: Create, valkey: RunningValkey) -> None:
    """A pod that is started elsewhere, with its volume, after its node died."""
    a = machine("a")
    a.sync()
    copy_home(a, "copy")
    moved = machine("copy")
    name = read_machine_name(a.home)
    [seconds, place] = valkey.admin.hget("{stepdown}:places", name).decode().split()
    valkey.admin.hset("{stepdown}:places", name, f"{int(seconds) - HELD_S - 1} {place}")

    assert moved.try_sync() == ""
    assert "under this one's name" in a.try_sync()
    assert moved.contact.machines == 1


def test_a_machine_that_is_started_again_is_itself(machine: Create) -> None:
    machine("a").sync()

    assert machine("a").try_sync() == ""


def test_a_password_that_was_changed_costs_new_connections_alone(
    machine: Create, valkey: RunningValkey
) -> None:
    """Named in one line, and over as soon as it is right again; nothing known is lost."""
    valkey.admin.execute_command("ACL", "SETUSER", "gateway", "on", ">old", "~*", "&*", "+@all")
    config = Config(url=f"redis://gateway@127.0.0.1:{valkey.port}", credential=Secret("old"))
    a = machine("a", config)
    _, plain = a.state.keys.create("app")
    a.sync()
    valkey.admin.execute_command("ACL", "SETUSER", "gateway", "resetpass", ">new")
    valkey.admin.execute_command("CLIENT", "KILL", "USER", "gateway")

    for _ in range(3):
        assert "STEPDOWN_STATE_PASSWORD" in a.try_sync()
    assert knows(a, plain)
    assert [report.state for report in a.reports] == ["connected", "away"]

    # As deploy/CLUSTER.md says to change it: both are good for a while.
    valkey.admin.execute_command("ACL", "SETUSER", "gateway", ">old")
    assert a.try_sync() == ""
    assert a.reports[-1].state == "connected"


def test_a_full_store_keeps_what_waits_until_it_takes_it(machine: Create, valkey: RunningValkey) -> None:
    a, b = machine("a"), machine("b")
    sync_all(a, b)
    valkey.admin.config_set("maxmemory-policy", "noeviction")
    valkey.admin.config_set("maxmemory", "1")
    _, plain = a.state.keys.create("app")
    add_audits(a, "1")
    assert "out of memory" in a.try_sync()

    valkey.admin.config_set("maxmemory", "0")
    sync_all(a, b)
    assert knows(b, plain)
    assert audit_ids(b) == ["1"]


@pytest.mark.parametrize(
    "packed",
    [
        b"\xc1 no message", b"\x07", msgspec.msgpack.encode(["a list"]), msgspec.msgpack.encode({}),
        msgspec.msgpack.encode({"task": "cards"}),
        msgspec.msgpack.encode({"task": "cards", "epoch": 1, "body": "{"}),
        msgspec.msgpack.encode({"task": "cards", "epoch": [1], "body": {}}),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_read_stops_nothing(
    machine: Create, valkey: RunningValkey, packed: bytes
) -> None:
    """Of another version of stepdown, or damaged: what this machine has stays, and all else goes on."""
    a, b = machine("a"), machine("b")
    a.state.interventions.freeze("cards", "odd")
    sync_all(a, b)
    for field in ('certifications ["cards"]', 'freezes ["cards"]', 'gateway_keys ["k"]', "newer [1]"):
        put_raw(valkey, field, packed)
    _, plain = a.state.keys.create("app")
    sync_all(a, b)
    assert a.try_sync() == b.try_sync() == ""

    assert knows(b, plain)
    # And one that both have changed.
    b.state.interventions.unfreeze("cards")
    put_raw(valkey, 'freezes ["cards"]', packed)
    sync_all(b, a)
    assert b.try_sync() == ""


def test_an_audit_that_cannot_be_read_keeps_none_that_follow(machine: Create, valkey: RunningValkey) -> None:
    a, b = machine("a"), machine("b")
    sync_all(a, b)
    log = "{stepdown}:audits"
    for fields in (
        {"other": b"x"},
        {"audit": b"\xc1"},
        {"audit": msgspec.msgpack.encode([1])},
        {"audit": msgspec.msgpack.encode({"request_id": "bare"})},
        {"audit": msgspec.msgpack.encode({"request_id": "odd", "task": ["a", "list"]})},
    ):
        valkey.admin.xadd(log, fields)
    add_audits(a, "1")
    sync_all(a, b)

    assert audit_ids(b) == ["1"]


def test_a_newer_version_may_say_more(machine: Create, valkey: RunningValkey) -> None:
    """More columns, more tables: taken as far as they are known, and left there as they are."""
    a = machine("a")
    a.sync()
    row = {"task": "cards", "at": 1.0, "note": "odd", "color": "red"}
    put_raw(valkey, 'freezes ["cards"]', msgspec.msgpack.encode(row))
    put_raw(valkey, 'newer ["cards"]', msgspec.msgpack.encode({"a": 1}))
    with a.state.database.write() as connection:
        # What a newer one left to send before it was taken back.
        connection.execute("INSERT INTO outgoing (kind, key) VALUES ('newer', '[1]')")
    _, plain = a.state.keys.create("app")
    a.sync()
    b = machine("b")
    b.sync()

    assert a.state.interventions.is_frozen("cards")
    assert knows(b, plain)
    assert valkey.admin.hget(ROWS, 'newer ["cards"]')


def test_an_audit_key_that_somebody_replaced_is_put_right(machine: Create) -> None:
    """One key and one thinning over all machines, also where a file of another home was put in its place."""
    a, b = machine("a"), machine("b")
    sync_all(a, b)
    common = read_audit_key(a.home)

    replace_audit_key(b.home, b"x" * 32)
    b.sync()

    assert read_audit_key(b.home) == common


def test_an_emptied_store_changes_no_audit_key(machine: Create, valkey: RunningValkey) -> None:
    """Whichever machine comes to it first, and had a key of its own before."""
    a, b, c = machine("a"), machine("b"), machine("c")
    sync_all(a, b, c)
    common = read_audit_key(a.home)

    for first in (b, c):
        valkey.admin.flushall()
        sync_all(first, a, b, c)
        assert {read_audit_key(each.home) for each in (a, b, c)} == {common}


@pytest.mark.parametrize(("ahead_s", "word"), [(3_600.0, "ahead"), (-3_600.0, "behind")])
def test_a_clock_that_is_wrong_is_said_once(
    machine: Create,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    ahead_s: float,
    word: str,
) -> None:
    a = machine("a")
    a.sync()
    real = time.time
    monkeypatch.setattr("gateway.sharing.fleet.time.time", lambda: real() + ahead_s)
    for _ in range(3):
        assert a.try_sync() == ""

    said = [record.getMessage() for record in caplog.records if "clock" in record.getMessage()]
    assert len(said) == 1
    assert word in said[0]


@pytest.mark.parametrize("jump_s", [0.0, 7_200.0, -7_200.0, -86_400.0])
def test_a_clock_that_jumps_while_it_runs_changes_no_lease(
    machine: Create, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    a = machine("a")
    a.sync()
    real = time.time
    monkeypatch.setattr("time.time", lambda: real() + jump_s)

    assert a.contact.has_lease
    assert a.contact.age_s < 5.0


@pytest.mark.parametrize("back_s", [60.0, 86_400.0])
def test_after_a_clock_was_set_back_a_restart_without_the_others_serves_nothing(
    machine: Create, valkey: RunningValkey, monkeypatch: pytest.MonkeyPatch, back_s: float
) -> None:
    """How old its knowledge is cannot be told: it may be a month."""
    machine("a").sync()
    valkey.kill()
    real = time.time
    monkeypatch.setattr("time.time", lambda: real() - back_s)

    again = machine("a")

    assert again.contact.has_been
    assert not again.contact.has_lease
    assert not again.contact.knows_keys


def test_a_machine_that_was_just_switched_on_knows_how_old_its_knowledge_is(tmp_path: Path) -> None:
    """Its monotonic clock began after the last contact."""
    create_counters(tmp_path / "counters", 1)
    contact = Contact(Counters(tmp_path / "counters", 0), Config(url="redis://a"), clock=lambda: 20.0)

    contact.restore(86_400.0, 3)

    assert contact.has_been
    assert contact.age_s == pytest.approx(86_400.0)
    assert not contact.has_lease
    assert not contact.knows_keys
