"""Who asks to be forgotten is forgotten by rows, audits and specialists alike."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.core import Audit, RiskTarget, hash_text
from gateway.harvest import removal
from gateway.harvest.base import Row
from gateway.harvest.exports import Export, note_export
from gateway.harvest.outbox import Outbox
from gateway.harvest.removal import Selection
from gateway.processes.forgetting import FORGET_FEEDBACK, Receipt, forget_rows
from gateway.registry.models import Registry
from gateway.store.decision_record import DecisionRecord
from gateway.store.home import Home
from gateway.store.ledger_row import LedgerRow
from gateway.store.reviews import Feedback
from gateway.store.state import State, open_state
from tests.distill.conftest import harvested
from tests.specialists.hosting import publish_learnt
from tests.support.builders import certified

TASK = "task-1"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def state(home: Home) -> Iterator[State]:
    with open_state(home) as state:
        yield state


def row(text: str, user: str) -> Row:
    return msgspec.structs.replace(
        harvested(text, "an answer", at=5.0, held_out=False), request_id=f"req-{text}", user=user
    )


def harvest(home: Home, *rows: Row) -> None:
    outbox = Outbox(home.worker_rows(0))
    for each in rows:
        outbox.put(each)
    outbox.close()


def publish(home: Home, version: int, folder: Path, *texts: str) -> None:
    publish_learnt(Registry(home.registry), folder, version, *texts, task=TASK)


def audit(request_id: str) -> Audit:
    return Audit(
        request_id=request_id,
        at=5.0,
        task=TASK,
        stratum="new",
        template="feed",
        version=1,
        loss=0.0,
        score=1.0,
    )


def decision(request_id: str, tenant: str = "shop") -> DecisionRecord:
    ledger = LedgerRow(
        1.0, request_id, tenant, "key", "p", TASK, "escalated", "/v1/chat/completions", "m", "m", "",
        9, 2, 0, 0, "", 0.25, 0.5, 0.0, 0.0, "reported", "listed",
    )  # fmt: skip
    return DecisionRecord(row=ledger, status=200, reason="unsure")


def forget_jane(home: Home, state: State) -> Receipt:
    return forget_rows(home, state, Selection(user="jane"))


def test_a_specialist_that_has_learnt_the_text_serves_no_more(
    home: Home, state: State, tmp_path: Path
) -> None:
    """Its neighbours and answers hold what is to be forgotten, whatever else it knows."""
    harvest(home, row("private", "jane"), row("public", "joe"))
    publish(home, 1, tmp_path / "one", "public")
    publish(home, 2, tmp_path / "two", "public", "private")
    state.certifications.put(certified(TASK, version=2, attempts=3))

    receipt = forget_jane(home, state)

    assert (receipt.rows, receipt.withdrawn) == (1, (f"{TASK}/2",))
    seen = state.interventions.find_seen_alarm(TASK, state.certifications.of(TASK).epoch)
    assert seen is not None, "operators are not to look for an alarm that there was not"
    assert "forgotten" in seen.note
    assert Registry(home.registry).versions(TASK) == [1]
    certification = state.certifications.of(TASK)
    assert (certification.version, certification.stage, certification.epoch) == (None, "shadow", 1)
    # What was spent of delta stays spent: the evidence has been looked at.
    assert {each.attempts for each in certification.certificates} == {3}


def test_an_alarm_that_no_one_has_acknowledged_stays_so(home: Home, state: State, tmp_path: Path) -> None:
    harvest(home, row("private", "jane"))
    publish(home, 2, tmp_path / "two", "private")
    state.certifications.put(msgspec.structs.replace(certified(TASK, version=2), epoch=3))

    forget_jane(home, state)

    assert state.interventions.find_seen_alarm(TASK, 3) is None


def test_what_changed_since_the_process_began_is_withdrawn_as_it_is_now(
    home: Home, state: State, tmp_path: Path
) -> None:
    """It waits for the learner, or for another machine, and these change the certification meanwhile."""
    harvest(home, row("private", "jane"))
    publish(home, 2, tmp_path / "two", "private")
    state.certifications.put(certified(TASK, version=1))
    with open_state(home) as other:
        now = msgspec.structs.replace(certified(TASK, version=2), epoch=4)
        other.certifications.put(now)

    forget_jane(home, state)

    certification = state.certifications.of(TASK)
    assert (certification.version, certification.epoch) == (None, 5)


def test_a_specialist_that_cannot_say_what_it_has_learnt_does_not_keep_the_rows(
    home: Home, state: State, tmp_path: Path
) -> None:
    harvest(home, row("private", "jane"))
    publish(home, 1, tmp_path / "one", "public")
    (Registry(home.registry).folder(TASK, 1) / "learnt.npy").write_bytes(b"torn")

    receipt = forget_jane(home, state)

    assert (receipt.rows, receipt.withdrawn) == (1, (f"{TASK}/1",))
    assert Registry(home.registry).versions(TASK) == []


def test_a_specialist_that_knows_nothing_of_it_goes_on(home: Home, state: State, tmp_path: Path) -> None:
    harvest(home, row("private", "jane"))
    publish(home, 1, tmp_path / "one", "public")
    state.certifications.put(certified(TASK))

    assert forget_jane(home, state).withdrawn == ()
    assert state.certifications.of(TASK) == certified(TASK)


@pytest.mark.parametrize(
    "selection",
    [
        Selection(user="jane"),
        Selection(user="joan", former_users=("janet", "jane")),
        Selection(tenant="shop", user="jane"),
        Selection(tenant="shop"),
        Selection(caller="till"),
        Selection(request_id="req-private"),
        Selection(task=TASK, before=6.0),
    ],
)
def test_what_was_learnt_from_a_row_that_the_retention_has_removed_serves_no_more(
    home: Home, state: State, tmp_path: Path, selection: Selection
) -> None:
    gone = msgspec.structs.replace(row("private", "jane"), tenant="shop", caller="till")
    publish_learnt(Registry(home.registry), tmp_path / "one", 1, "private", task=TASK, rows=[gone])
    state.certifications.put(certified(TASK))
    (home.learn / TASK).mkdir(parents=True)

    receipt = forget_rows(home, state, selection)

    assert (receipt.rows, receipt.withdrawn) == (0, (f"{TASK}/1",))
    assert state.certifications.of(TASK).version is None
    assert not (home.learn / TASK).exists(), "caches hold what it has learnt, too"


@pytest.mark.parametrize(
    "selection",
    [
        Selection(user="joe"),
        Selection(tenant="bank", user="jane"),
        Selection(user="jane", task="task-2"),
        Selection(user="jane", before=5.0),
        Selection(request_id="req-privat"),
    ],
)
def test_what_others_were_learnt_from_goes_on(
    home: Home, state: State, tmp_path: Path, selection: Selection
) -> None:
    """A version that the retention has left without its rows is judged by all that a selection names."""
    gone = msgspec.structs.replace(row("private", "jane"), tenant="shop")
    publish_learnt(Registry(home.registry), tmp_path / "one", 1, "private", task=TASK, rows=[gone])

    assert forget_rows(home, state, selection).withdrawn == ()


def test_caches_of_the_task_and_audits_of_the_request_go_too(home: Home, state: State) -> None:
    harvest(home, row("private", "jane"))
    (home.learn / TASK / "lora_sft").mkdir(parents=True)
    for request_id in ("req-private", "req-public"):
        state.audits.put(audit(request_id))
    state.audits.flush()

    assert forget_jane(home, state).audits == 1
    assert not (home.learn / TASK).exists()
    assert [each.request_id for _, each in state.audits.since(0)] == ["req-public"]


def test_the_receipt_names_exports_that_may_hold_it_and_is_no_copy(home: Home, state: State) -> None:
    harvest(home, row("private", "jane"))
    for at, tasks in ((1.0, (TASK,)), (9.0, (TASK,)), (9.0, ("other",))):
        note_export(home, Export(at=at, path=f"/data/{at}", format="trl", tasks=tasks, rows=1))
    note_export(home, Export(at=9.0, path="/data/empty", format="trl", tasks=(TASK,), rows=0))

    receipt = forget_jane(home, state)

    assert [(each.path, each.tasks) for each in receipt.exports] == [("/data/9.0", (TASK,))]
    told = msgspec.json.encode(receipt).decode()
    assert not any(word in told for word in ("private", "jane", f"{hash_text('private')}"))


def test_who_waits_for_the_learner_is_told_so(home: Home, state: State) -> None:
    """A step may take minutes: a command that is silent for so long looks as if it hung."""
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        learner.close()

    learner = home.learner_lock.open("a")
    fcntl.flock(learner, fcntl.LOCK_EX)
    receipt = forget_rows(home, state, Selection(user="jane"), say=say)

    assert [text[:23] for text in said] == ["waiting for the learner"]
    assert receipt.is_wiped


def test_to_forget_nothing_changes_nothing(home: Home, state: State, tmp_path: Path) -> None:
    harvest(home, row("public", "joe"))
    publish(home, 1, tmp_path / "one", "public")

    receipt = forget_jane(home, state)

    assert (receipt.rows, receipt.tasks, receipt.withdrawn) == (0, (), ())
    assert Registry(home.registry).versions(TASK) == [1]


def test_a_task_without_any_rows_keeps_nothing_but_its_name(home: Home, state: State) -> None:
    """Its template is somebody's words, too; what forms of it differed is told in them."""
    harvest(home, row("private", "jane"))
    known: dict[str, Any] = {"template_text": "Our secret prompt.", "vector": b"\1" * 8}
    for task in (TASK, "task-2"):
        state.tasks.put(task, scope="tenant:shop", contract_hash="beef", model="gpt-4o", **known)
        state.templates.put(task, "place secret", "known")

    forget_jane(home, state)

    told = {task.task: (task.template_text, task.vector) for task in state.tasks.all()}
    assert told == {TASK: ("", bytes(8)), "task-2": ("Our secret prompt.", b"\1" * 8)}
    assert state.templates.status_of(TASK, "place secret") is None
    assert state.templates.status_of("task-2", "place secret") == "known"


def test_what_was_decided_and_said_of_the_request_goes_too(home: Home, state: State) -> None:
    harvest(home, row("private", "jane"), row("public", "joe"))
    for request_id in ("req-private", "req-public"):
        state.decisions.put(decision(request_id))
        state.reviews.put_feedback(
            Feedback(request_id=request_id, tenant="", caller="app", answer="said", at=1.0)
        )
    state.decisions.flush()
    state.reviews.flush()

    receipt = forget_jane(home, state)

    assert receipt.decisions == 1
    assert [state.decisions.find(name) == [] for name in ("req-private", "req-public")] == [True, False]
    assert [each.request_id for each in state.reviews.feedback()] == ["req-public"]
    assert b"req-private" not in home.decisions_db.read_bytes()


@pytest.mark.parametrize("deletes", [False, True])
def test_whoever_is_killed_leaves_nothing_that_a_second_call_would_not_find(
    home: Home, state: State, monkeypatch: pytest.MonkeyPatch, *, deletes: bool
) -> None:
    """The rows say whose the rest is: it goes before them."""
    harvest(home, row("private", "jane"))
    state.tasks.put(
        TASK, scope="all", contract_hash="", model="gpt-4o", template_text="A secret.", vector=b"\1" * 8
    )
    state.decisions.put(decision("req-private"))
    state.decisions.flush()

    def die(folder: Path, selection: Selection) -> None:
        if deletes:
            removal.forget(folder, selection)
        raise KeyboardInterrupt

    monkeypatch.setattr("gateway.processes.forgetting.forget", die)
    with pytest.raises(KeyboardInterrupt):
        forget_jane(home, state)
    monkeypatch.setattr("gateway.processes.forgetting.forget", removal.forget)
    forget_jane(home, state)

    assert state.decisions.find("req-private") == []
    assert [task.template_text for task in state.tasks.all()] == [""]


def test_all_decisions_of_a_tenant_go_even_those_that_left_no_row(home: Home, state: State) -> None:
    """What a specialist answered is in no harvest."""
    state.decisions.put(decision("one", tenant="shop"))
    state.decisions.put(decision("two", tenant="bank"))
    state.decisions.flush()

    receipt = forget_rows(home, state, Selection(tenant="shop"))

    assert receipt.decisions == 1
    assert [state.decisions.find(name) == [] for name in ("one", "two")] == [True, False]


def test_feedback_of_a_tenant_goes_even_on_what_left_no_row(home: Home, state: State) -> None:
    """An app may have written what the specialist should have answered."""
    for tenant, caller in (("shop", "app"), ("shop", "web"), ("bank", "app")):
        said = Feedback(request_id=f"{tenant}-{caller}", tenant=tenant, caller=caller, answer="private")
        assert state.reviews.put_feedback(said)
    state.reviews.flush()

    forget_rows(home, state, Selection(tenant="shop", caller="app"))
    assert [each.request_id for each in state.reviews.feedback()] == ["shop-web", "bank-app"]
    receipt = forget_rows(home, state, Selection(user="jane"))
    assert (len(state.reviews.feedback()), receipt.left_to_do) == (2, (FORGET_FEEDBACK,))
    assert FORGET_FEEDBACK not in receipt.still_held_by, "it is ours to delete"
    receipt = forget_rows(home, state, Selection(tenant="shop"))
    assert [each.request_id for each in state.reviews.feedback()] == ["bank-app"]
    assert receipt.left_to_do == ()


def test_judgements_of_the_request_go_too(home: Home, state: State) -> None:
    harvest(home, row("private", "jane"))
    state.preferences.put("req-private", TASK, "local", "cli:someone")
    state.preferences.put("req-public", TASK, "local", "cli:someone")

    forget_jane(home, state)

    assert list(state.preferences.all()) == ["req-public"]


@pytest.mark.parametrize(("at", "is_blocked"), [(5.0, True), (50.0, False)])
def test_forgotten_evidence_blocks_the_certificate_that_stood_on_it(
    home: Home, state: State, at: float, is_blocked: bool
) -> None:
    """Who can choose what is forgotten must not be able to choose the evidence."""
    audited = msgspec.structs.replace(row("private", "jane"), is_held_out=True, at=at)
    harvest(home, audited)
    live = certified(TASK, evidence_from=1.0, evidence_to=9.0, attempts=2)
    state.certifications.put(live)

    receipt = forget_jane(home, state)

    after = state.certifications.of(TASK)
    assert (receipt.blocked == (TASK,)) is is_blocked
    assert after.version == live.version, "it drafts on, in shadow"
    assert (after.stage == "live") is not is_blocked
    assert {each.attempts for each in after.certificates} == {2}


def test_a_request_whose_row_is_gone_already_leaves_no_audit(home: Home, state: State) -> None:
    """Its row went by age, or was never a lesson."""
    for request_id in ("req-private", "req-public"):
        state.audits.put(audit(request_id))
    state.audits.flush()

    assert forget_rows(home, state, Selection(request_id="req-private")).audits == 1
    assert [each.request_id for _, each in state.audits.since(0)] == ["req-public"]


def test_a_certificate_on_imported_rows_goes_with_any_of_them(home: Home, state: State) -> None:
    """Held out, no version has learnt it; the version drafts on, and live audits may still certify it."""
    imported = msgspec.structs.replace(row("private", "jane"), is_held_out=True, propensity=0.0)
    harvest(home, imported, row("public", "joe"))
    target = RiskTarget(evidence="imported")
    state.certifications.put(
        certified(TASK, target=target, evidence_from=4.0, evidence_to=6.0, attempts=2, issued_at_attempt=1)
    )

    receipt = forget_jane(home, state)

    assert (receipt.held_out, receipt.blocked) == (1, (TASK,))
    certification = state.certifications.of(TASK)
    assert (certification.version, certification.stage) == (1, "shadow")
    assert not certification.serves(target, 5.0)
