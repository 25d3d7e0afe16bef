"""Who is forgotten on one machine is forgotten on all, whenever they come back, and each says so."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.cli.harvest.forgotten import read_progress
from gateway.core import Audit
from gateway.harvest.base import Row, hash_user
from gateway.harvest.outbox import Outbox
from gateway.harvest.reader import HarvestReader
from gateway.harvest.removal import Selection
from gateway.processes import fleet_forgetting
from gateway.processes.fleet_forgetting import FleetForgetting
from gateway.processes.forgetting import FORGET_FEEDBACK
from gateway.registry.models import Registry
from gateway.settings import read_settings
from gateway.sharing.base import AwayError
from gateway.sharing.contact import write_contact_report
from gateway.store.forgets import ForgetRequest
from gateway.store.home import Home, read_audit_key, read_machine_name
from gateway.store.reviews import Feedback, Verdict
from tests.distill.conftest import harvested
from tests.sharing.conftest import Machine, sync_all
from tests.specialists.hosting import publish_learnt
from tests.support.builders import certified
from tests.support.processes import stepdown
from tests.support.valkey import RunningValkey

Create = Callable[..., Machine]
TASK = "task-1"


@pytest.fixture
def forgetting(valkey: RunningValkey) -> Callable[[Machine], FleetForgetting]:
    """Return what one machine does of it."""

    def create(machine: Machine) -> FleetForgetting:
        machine.state.forgets.join(read_machine_name(machine.home), f"host of {machine.home.folder.name}")
        environment = {"STEPDOWN_HOME": str(machine.home.folder), "STEPDOWN_STATE_URL": valkey.url}
        return FleetForgetting(read_settings(environment), machine.state)

    return create


Forget = Callable[[Machine], FleetForgetting]


def harvest(home: Home, text: str, user: str, *, tenant: str = "shop") -> None:
    plain = harvested(text, "an answer", at=5.0, held_out=False)
    named: Row = msgspec.structs.replace(
        plain, request_id=f"req-{text}", user=hash_user(user, read_audit_key(home)), tenant=tenant
    )
    outbox = Outbox(home.worker_rows(0))
    outbox.put(named)
    outbox.close()


def publish(home: Home, version: int, *texts: str) -> None:
    publish_learnt(Registry(home.registry), home.folder / f"staging-{version}", version, *texts, task=TASK)


def add_audit(machine: Machine, request_id: str) -> None:
    facts: dict[str, Any] = {"task": TASK, "stratum": "new", "template": "feed", "version": 1}
    machine.state.audits.put(Audit(request_id=request_id, at=time.time(), loss=0.0, score=0.9, **facts))
    machine.state.audits.flush()


def add_verdict(machine: Machine, request_id: str) -> None:
    verdict = Verdict(
        request_id=request_id, task=TASK, kind="correct", text_hash="t", answer_hash="a", answer="words"
    )
    machine.state.reviews.put([verdict])


def audit_ids(machine: Machine) -> list[str]:
    return [audit.request_id for _, audit in machine.state.audits.since(0)]


def rows(machine: Machine) -> list[str]:
    return sorted(row.text for row in HarvestReader(machine.home.harvest).rows(TASK).rows)


def user_selection(machine: Machine, user: str) -> Selection:
    """As the command makes it."""
    keys = machine.state.forgets.former_audit_keys()
    return Selection(
        user=hash_user(user, read_audit_key(machine.home)),
        former_users=tuple(hash_user(user, key) for key in keys),
    )


def test_each_machine_forgets_its_own_rows_and_answers(machine: Create, forgetting: Forget) -> None:
    a, b, _ = machines = machine("a"), machine("b"), machine("c")
    sync_all(*machines)
    work = [forgetting(each) for each in machines]
    harvest(a.home, "private a", "jane")
    harvest(b.home, "private b", "jane")
    harvest(b.home, "public", "joe")
    sync_all(*machines)

    request = work[0].publish(user_selection(a, "jane"))
    work[0].carry_out(request)
    sync_all(*machines)
    assert set(a.state.forgets.missing(request.id).values()) == {"host of b", "host of c"}
    assert [each.run_waiting() for each in work[1:]] == [1, 1]
    sync_all(*machines)
    # The rows of the second machine left traces that the others look for.
    assert [each.run_waiting() for each in work] == [1, 0, 1]
    sync_all(*machines)

    assert [rows(each) for each in machines] == [[], ["public"], []]
    for each in machines:
        assert each.state.forgets.missing(request.id) == {}
        assert each.state.forgets.waiting(read_machine_name(each.home)) == []
    counts = [fleet_forgetting.read_receipt(one).rows for one in a.state.forgets.answers(request.id).values()]
    assert sorted(counts) == [0, 1, 1]


def test_one_machine_says_what_is_left_to_do_on_any(machine: Create, forgetting: Forget) -> None:
    """Feedback is on the machine that took it: here on the one that was not asked."""
    a, b = machine("a"), machine("b")
    sync_all(a, b)
    work = forgetting(a), forgetting(b)
    assert b.state.reviews.put_feedback(Feedback(request_id="r", tenant="shop", caller="app", rating="down"))
    b.state.reviews.flush()

    request = work[0].publish(user_selection(a, "jane"))
    work[0].carry_out(request)
    sync_all(a, b)
    work[1].run_waiting()
    sync_all(a, b)

    assert read_progress(a.state, request, has_parts=False).left_to_do == (FORGET_FEEDBACK,)


def test_traces_on_other_machines_go_too(machine: Create, forgetting: Forget) -> None:
    """Audits, verdicts, caches and specialists there, of rows that only one machine had."""
    a, b = machine("a"), machine("b")
    sync_all(a, b)
    work = forgetting(a), forgetting(b)
    harvest(a.home, "private", "jane")
    publish(b.home, 1, "public")
    publish(b.home, 2, "public", "private")
    b.state.certifications.put(certified(TASK, version=2))
    (b.home.learn / TASK).mkdir(parents=True)
    for each in ("req-private", "req-public"):
        add_audit(a, each)
        add_verdict(b, each)
    sync_all(a, b)
    assert audit_ids(b) == ["req-private", "req-public"]

    work[0].carry_out(work[0].publish(user_selection(a, "jane")))
    sync_all(a, b)
    work[1].run_waiting()
    sync_all(a, b)

    assert audit_ids(a) == audit_ids(b) == ["req-public"]
    assert [one.request_id for one in b.state.reviews.verdicts(TASK)] == ["req-public"]
    assert not (b.home.learn / TASK).exists()
    assert Registry(b.home.registry).versions(TASK) == [1]
    assert a.state.certifications.of(TASK).version is None
    newcomer = machine("c")
    newcomer.sync()
    assert audit_ids(newcomer) == ["req-public"]


def test_an_audit_that_is_sent_late_stays_forgotten(machine: Create, forgetting: Forget) -> None:
    a, b = machine("a"), machine("b")
    sync_all(a, b)
    work = forgetting(a)
    harvest(a.home, "private", "jane")
    work.carry_out(work.publish(user_selection(a, "jane")))
    sync_all(a, b)
    add_audit(b, "req-private")
    sync_all(b, a)

    assert audit_ids(a) == []


def test_what_all_machines_can_read_is_no_copy(
    machine: Create, forgetting: Forget, valkey: RunningValkey
) -> None:
    a = machine("a")
    work = forgetting(a)
    harvest(a.home, "private words", "jane")
    work.carry_out(work.publish(user_selection(a, "jane")))
    a.sync()

    stored = b" ".join(valkey.admin.hvals("{stepdown}:rows"))
    assert b"req-private words" in stored, "an id is told"
    told = stored.replace(b"req-private words", b"")
    assert not [word for word in (b"private", b"jane", b"an answer") if word in told]


def test_a_user_is_found_by_the_key_that_a_machine_had_before(machine: Create, forgetting: Forget) -> None:
    """A machine that served alone named its users by an audit key of its own."""
    a, b = machine("a"), machine("b")
    harvest(b.home, "early", "jane")
    for each in (a, b):
        old = read_audit_key(each.home)
        each.sync()
        if read_audit_key(each.home) != old:
            each.state.forgets.keep_audit_key(old)
    work = forgetting(a), forgetting(b)
    sync_all(a, b)

    work[0].publish(user_selection(a, "jane"))
    sync_all(a, b)
    work[1].run_waiting()

    assert rows(b) == []


def test_a_machine_that_was_away_does_it_when_it_returns(
    machine: Create, forgetting: Forget, valkey: RunningValkey
) -> None:
    """Though the store was emptied meanwhile. What it harvested after that is not asked for twice."""
    a, b = machine("a"), machine("b")
    sync_all(a, b)
    work = forgetting(a), forgetting(b)
    sync_all(a, b)
    harvest(b.home, "private", "jane")

    request = work[0].publish(user_selection(a, "jane"))
    work[0].carry_out(request)
    a.sync()
    valkey.kill()
    valkey.start_again()
    for _ in range(2):
        a.try_sync()
    assert a.state.forgets.prune(time.time() + 1.0) == 0, "one is missing"
    harvest(a.home, "later", "jane")
    assert b.try_sync()
    b.try_sync()

    assert b.state.forgets.waiting(read_machine_name(b.home))
    work[1].run_waiting()
    sync_all(b, a)
    work[0].run_waiting()
    sync_all(a, b)
    assert (rows(a), rows(b)) == (["later"], [])
    assert a.state.forgets.prune(time.time() + 1.0) == 1
    sync_all(a, b)
    assert b.state.forgets.requests() == []
    assert not b.state.database.read("SELECT 1 FROM forget_traces, forget_receipts")


@pytest.mark.parametrize("step", ["forget_rows", "_add_up", "delete_audits"])
def test_killed_in_between_the_next_run_ends_it(
    machine: Create, forgetting: Forget, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    a, b = machine("a"), machine("b")
    sync_all(a, b)
    work = forgetting(a), forgetting(b)
    harvest(a.home, "private", "jane")
    for each in ("req-private", "req-public"):
        add_audit(a, each)
    sync_all(a, b)
    request = work[0].publish(user_selection(a, "jane"))

    original = getattr(fleet_forgetting, step)

    def killed(*arguments: Any, **options: Any) -> None:
        if step != "delete_audits":
            original(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(fleet_forgetting, step, killed)
        with pytest.raises(KeyboardInterrupt):
            work[0].carry_out(request)
    assert a.state.forgets.waiting(read_machine_name(a.home)) == [request]
    work[0].run_waiting()
    sync_all(a, b)
    work[1].run_waiting()
    sync_all(a, b)

    assert rows(a) == []
    assert audit_ids(a) == audit_ids(b) == ["req-public"]
    assert a.state.forgets.missing(request.id) == {}


def test_while_the_shared_state_is_away_a_machine_is_not_done(
    machine: Create, forgetting: Forget, valkey: RunningValkey
) -> None:
    """Its own rows are gone at once; the log of audits is not reached."""
    a = machine("a")
    work = forgetting(a)
    harvest(a.home, "private", "jane")
    valkey.kill()
    request = work.publish(user_selection(a, "jane"))
    with pytest.raises(AwayError):
        work.carry_out(request)
    assert rows(a) == []
    assert a.state.forgets.missing(request.id)

    valkey.start_again()
    harvest(a.home, "later", "jane")
    receipt = work.carry_out(request)
    assert receipt.rows == 1
    assert rows(a) == ["later"]
    assert a.state.forgets.missing(request.id) == {}
    assert work.carry_out(request) == receipt, "a second call changes nothing"


def test_a_machine_that_does_not_come_back_is_retired(machine: Create, forgetting: Forget) -> None:
    a, b = machine("a"), machine("b")
    work = forgetting(a)
    forgetting(b)
    sync_all(a, b)
    request = work.publish(Selection(tenant="shop"))
    work.carry_out(request)
    gone = read_machine_name(b.home)
    assert a.state.forgets.prune(time.time() + 1.0) == 0

    assert a.state.forgets.retire(gone)
    assert not a.state.forgets.retire(gone)
    assert a.state.forgets.missing(request.id) == {}
    assert a.state.forgets.prune(time.time() + 1.0) == 1


def test_many_rows_are_told_in_bounded_pieces(
    machine: Create, forgetting: Forget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_forgetting, "TRACES_AT_ONCE", 2)
    a, b = machine("a"), machine("b")
    sync_all(a, b)
    work = forgetting(a), forgetting(b)
    for number in range(5):
        harvest(a.home, f"text {number}", "jane")
        add_audit(a, f"req-text {number}")
    sync_all(a, b)

    request: ForgetRequest = work[0].publish(Selection(tenant="shop"))
    work[0].carry_out(request)
    sync_all(a, b)
    work[1].run_waiting()

    assert len(b.state.forgets.traces(request.id)) == 3
    assert audit_ids(b) == []
    assert Path(b.home.receipts).exists()


@pytest.mark.parametrize(("wait", "code"), [("0", 0), ("0.1", 4)])
def test_the_command_names_the_machines_that_did_not_answer(
    machine: Create, forgetting: Forget, valkey: RunningValkey, wait: str, code: int
) -> None:
    a, b = machine("a"), machine("b")
    for each in (a, b):
        forgetting(each)
    sync_all(a, b)
    harvest(a.home, "private", "jane")
    at_a = {"STEPDOWN_STATE_URL": valkey.url}
    gone = read_machine_name(b.home)

    asked = stepdown(a.home.folder, "harvest", "forget", "--user", "jane", "--wait", wait, **at_a)
    assert asked.returncode == code, asked.stderr
    assert f"done by {socket.gethostname()} ({read_machine_name(a.home)}): 1 rows" in asked.stdout
    assert f"NOT DONE by host of b ({gone})" in asked.stdout

    assert "no gateway runs here" in asked.stderr

    retired = stepdown(a.home.folder, "harvest", "forgotten", "--retire", gone, **at_a)
    assert "done by" in retired.stdout
    assert "NOT DONE" not in retired.stdout
    assert stepdown(a.home.folder, "harvest", "forgotten", "--retire", gone, **at_a).returncode == 1


def test_a_machine_of_an_older_version_is_not_passed_over_in_silence(
    machine: Create, forgetting: Forget, valkey: RunningValkey
) -> None:
    """It shares the state and knows nothing of such requests; once upgraded, it finds them."""
    a, old = machine("a"), machine("old")
    forgetting(a)
    sync_all(a, old)
    write_contact_report(a.home, a.reports[-1])

    words = "harvest", "forget", "--tenant", "shop", "--wait", "0.1"
    asked = stepdown(a.home.folder, *words, STEPDOWN_STATE_URL=valkey.url)

    assert asked.returncode == 4
    assert "1 machines run a stepdown that cannot be asked" in asked.stderr
    forgetting(old)
    sync_all(a, old)
    assert len(old.state.forgets.waiting(read_machine_name(old.home))) == 1
