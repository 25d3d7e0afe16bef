from __future__ import annotations

import errno
from typing import Any

import msgspec
import numpy as np
import pytest

from gateway.confidence.sample_size import audits_to_settle
from gateway.core import Certification, Draft
from gateway.distill.base import Event, TrainingSet
from gateway.distill.evaluation import draft_answers
from gateway.distill.learner import Learner
from gateway.distill.recipes.head.recipe import HeadRecipe
from gateway.distill.verdicts import verdict_on
from gateway.harvest.removal import Selection, forget
from gateway.registry.models import MANIFEST
from gateway.specialists.learnt import read_learnt_texts
from gateway.specialists.runtimes.head import runtime
from tests.distill.conftest import CONFIG, Home, harvested, tickets
from tests.specialists.hosting import drafted


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


def fed(home: Home, learner: Learner, *, start: int = 0, count: int = 600, shift: int = 0) -> list[Event]:
    """Harvest in pieces of 50 with a step after each, as it goes in service."""
    events: list[Event] = []
    for first in range(start, start + count, 50):
        home.harvest(tickets(50, start=first, shift=shift))
        events += learner.step()
    return events


def test_an_unknown_template_becomes_a_task(home: Home) -> None:
    home.harvest(tickets(20))

    assert kinds(home.learner().step()) == ["adopted"]

    task = home.stores.tasks.get("task-1")
    assert task is not None
    assert (task.contract_hash, task.model, task.template_text) == ("g", "gpt-4o", "sort the ticket")
    assert np.linalg.norm(np.frombuffer(task.vector, np.float32)) == pytest.approx(1.0)


def test_too_few_rows_make_no_task(home: Home) -> None:
    home.harvest(tickets(19))
    assert home.learner().step() == []


@pytest.mark.parametrize("template", ["", "word " * 50])
def test_a_template_without_a_vector_resembles_nothing(home: Home, template: str) -> None:
    rows = [harvested(f"t {n}", "a", at=n) for n in range(20)]
    home.harvest([msgspec.structs.replace(row, template_text=template) for row in rows])
    home.learner().step()
    task = home.stores.tasks.get("task-1")
    assert task is not None
    assert not np.frombuffer(task.vector, np.float32).any()


def test_the_first_version_is_a_shadow_with_a_report(home: Home) -> None:
    home.harvest(tickets(110))

    events = home.learner().step()

    young = home.certificate()
    assert kinds(events) == ["adopted", "trained"]
    assert (young.stage, home.certification().version, young.threshold) == ("shadow", 1, None)
    assert young.tentative is not None
    assert young.audits_missing is not None
    assert home.stores.registry.versions("task-1") == [1]


def test_a_growing_harvest_ends_in_a_certificate_which_holds(home: Home) -> None:
    events = fed(home, home.learner())

    live, version = home.certificate(), home.certification().version
    assert "certified" in kinds(events)
    assert live.stage == "live"
    assert live.threshold is not None
    assert version is not None
    _, folder = home.stores.registry.verify("task-1", version)
    specialist = runtime.create(folder, home.resources)
    drafts = [(drafted(specialist, row.text), row) for row in tickets(300, start=5000)]
    served = [draft.text == row.answer for draft, row in drafts if draft.score >= live.threshold]
    assert len(served) > 100
    assert sum(served) / len(served) >= 1 - live.target.alpha


def test_a_step_costs_nothing_when_nothing_has_changed(home: Home) -> None:
    learner = home.learner()
    fed(home, learner, count=300)
    home.encoder.asked.clear()

    assert learner.step() == []
    assert home.encoder.asked == []


def test_a_few_more_rows_are_no_reason_to_train_again(home: Home) -> None:
    learner = home.learner()
    fed(home, learner, count=300)
    versions = home.stores.registry.versions("task-1")
    home.harvest(tickets(5, start=300))
    assert learner.step() == []
    assert home.stores.registry.versions("task-1") == versions


def test_a_restarted_learner_does_not_repeat_what_was_done(home: Home) -> None:
    """Repeating an attempt on the same evidence would spend delta for nothing."""
    fed(home, home.learner(), count=300)
    before = home.certification()

    assert home.learner().step() == []
    assert home.certification() == before


def test_a_live_task_keeps_its_certificate_while_it_learns_on(home: Home) -> None:
    learner = home.learner()
    fed(home, learner)
    assert home.certificate().stage == "live"
    versions = home.stores.registry.versions("task-1")

    events = fed(home, learner, start=600, count=600)

    assert set(kinds(events)) <= {"kept", "certified"}
    assert home.certificate().stage == "live"
    assert len(home.stores.registry.versions("task-1")) > len(versions)


def test_a_version_that_may_replace_a_live_one_drafts_the_evidence_once(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder drafts ten per second: what tells whether a test can be won is also what it tests."""
    learner, batches = home.learner(), []
    fed(home, learner)

    def counted(*arguments: Any) -> list[Draft | None]:
        batches.append(len(arguments[1]))
        return draft_answers(*arguments)

    monkeypatch.setattr("gateway.distill.scored_audits.draft_answers", counted)
    home.harvest(tickets(600, start=600))
    events = learner.step()

    held_out = home.stores.harvest.counts()["task-1"].held_out
    assert kinds(events) in (["kept"], ["certified"])
    assert 0 < sum(batches) <= held_out


def test_what_could_not_win_spends_no_attempt(home: Home) -> None:
    """A new version is tested only if it can be expected to serve more than what is in force."""
    learner = home.learner()
    fed(home, learner)
    before = home.certificate()

    fed(home, learner, start=600, count=600)

    after = home.certificate()
    assert after.stage == "live"
    assert after.attempts - before.attempts <= 3


def test_after_an_alarm_a_changed_teacher_is_learnt_anew(home: Home) -> None:
    learner = home.learner()
    fed(home, learner)
    home.alarm(at=600.0)

    events = fed(home, learner, start=600, shift=1)

    certification = home.certification()
    assert kinds(events)[-1] in {"certified", "kept"}
    assert home.certificate().stage == "live"
    assert certification.epoch == 1
    assert certification.version is not None
    _, folder = home.stores.registry.verify("task-1", certification.version)
    specialist = runtime.create(folder, home.resources)
    rows = tickets(100, start=9000, shift=1)
    assert sum(drafted(specialist, row.text).text == row.answer for row in rows) >= 90


def test_what_was_learnt_anew_is_not_spoilt_later_by_old_rows(home: Home) -> None:
    learner = home.learner()
    fed(home, learner)
    home.alarm(at=600.0)
    fed(home, learner, start=600, shift=1)
    assert home.certificate().stage == "live"
    known = len(home.stores.registry.versions("task-1"))

    fed(home, learner, start=1200, shift=1)

    versions = home.stores.registry.versions("task-1")
    assert len(versions) > known
    _, folder = home.stores.registry.verify("task-1", versions[-1])
    specialist = runtime.create(folder, home.resources)
    rows = tickets(100, start=9000, shift=1)
    assert sum(drafted(specialist, row.text).text == row.answer for row in rows) >= 95


def test_old_evidence_never_ends_an_alarm(home: Home) -> None:
    learner = home.learner()
    fed(home, learner)
    home.alarm(at=600.0)
    assert learner.step() == []
    fed(home, learner, start=600, count=100)
    assert home.certificate().stage == "alarm"


def test_an_alarm_which_comes_while_training_wins(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate made before the alarm must not undo it."""
    learner = home.learner()
    fed(home, learner)
    put_if = home.stores.certifications.put_if

    def late(epoch: int, certification: Certification) -> bool:
        home.alarm(at=1200.0)
        return put_if(epoch, certification)

    monkeypatch.setattr(home.stores.certifications, "put_if", late)
    home.harvest(tickets(400, start=600))

    assert kinds(learner.step()) == ["overtaken"]
    assert home.certificate().stage == "alarm"


def test_free_text_is_postponed_and_says_why(home: Home) -> None:
    home.harvest([harvested(f"q {n}", f"essay {n}", at=n) for n in range(100)])
    learner = home.learner()

    events = learner.step()

    assert kinds(events) == ["adopted", "postponed"]
    assert "no recipe can learn answers like these" in events[-1].detail
    assert home.certification().note == events[-1].detail
    assert home.certification().version is None
    assert learner.step() == []


def test_one_hopeless_task_does_not_hinder_another(home: Home) -> None:
    essays = [harvested(f"q {n}", f"essay {n}", at=n) for n in range(100)]
    home.harvest([msgspec.structs.replace(row, task="a-hopeless") for row in essays])
    home.harvest(tickets(110))
    assert "trained" in kinds([event for event in home.learner().step() if event.task == "task-1"])


def test_a_defect_in_learning_one_task_does_not_hinder_another(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The process would end, start again and end again: no task would ever learn."""
    learn = HeadRecipe.can_learn

    def stumble(recipe: HeadRecipe, rows: TrainingSet) -> bool:
        if rows.answers[0].startswith("essay"):
            raise IndexError("list index out of range")
        return learn(recipe, rows)

    monkeypatch.setattr(HeadRecipe, "can_learn", stumble)
    essays = [harvested(f"q {n}", f"essay {n}", at=n) for n in range(100)]
    home.harvest([msgspec.structs.replace(row, task="a-broken") for row in essays])
    home.harvest(tickets(110))

    events = home.learner().step()

    assert "trained" in kinds([event for event in events if event.task == "task-1"])
    assert "IndexError: a defect" in next(event.detail for event in events if event.kind == "postponed")
    assert "list index out of range" in caplog.text


def test_what_a_full_disk_stopped_is_learnt_once_there_is_room(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no matter of the task, which need not grow for it."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    learner = home.learner()
    home.harvest(tickets(110))
    with monkeypatch.context() as full:
        full.setattr(home.stores.registry.__class__, "publish", refuse)
        with pytest.raises(OSError, match="No space left"):
            learner.step()

    assert "trained" in kinds(learner.step())


def test_an_unreadable_registry_postpones_the_task(home: Home) -> None:
    fed(home, home.learner(), count=150)
    _, folder = home.stores.registry.verify("task-1", home.stores.registry.versions("task-1")[-1])
    (folder / "manifest.json").write_text("not json")

    assert kinds(home.learner().step()) == ["postponed"]


def test_a_teacher_without_held_out_rows_never_certifies(home: Home) -> None:
    home.harvest(tickets(300, held_out_share=0.0))
    home.learner().step()
    assert home.certification().version == 1
    assert home.certification().stage == "shadow"


def test_a_young_certificate_is_tried_again_when_evidence_suffices(home: Home) -> None:
    """Without a new version: few of the rows that come after it are lessons."""
    learner = home.learner()
    fed(home, learner)
    home.unsettle(coverage=0.9)
    young, versions = home.certificate(), home.stores.registry.versions("task-1")
    assert young.stage == "live"
    enough = audits_to_settle(young.target.alpha, young.target.delta)
    home.harvest(tickets(2 * enough, start=600, held_out_share=1.0))

    events = learner.step()

    settled = home.certificate()
    assert kinds(events)[-1] in {"certified", "kept"}
    assert settled.is_settled
    assert settled.evidence_to > young.evidence_to
    assert home.stores.registry.versions("task-1") == versions
    assert learner.step() == []


def test_a_renewal_is_considered_again_when_a_tenth_of_the_window_is_new(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All the evidence is drafted for it, and a decoder drafts ten per second."""
    learner, looks = home.learner(), []
    fed(home, learner)
    home.unsettle(coverage=1.0)

    def look(candidate: object, old: Certification, *rest: object) -> Certification:
        looks.append(old)
        return old

    monkeypatch.setattr(learner._judge, "renew", look)
    for start, count in ((600, 400), (1_000, 1), (1_001, 1), (1_100, 100)):
        home.harvest(tickets(count, start=start, held_out_share=1.0))
        assert learner.step() == []

    assert len(looks) == 2


def test_a_version_that_was_published_and_not_judged_is_judged_first(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between publishing and judging, a task once said "nothing to learn" for ever."""
    home.harvest(tickets(600))
    killed = home.learner()

    def die(task: str, version: int) -> Event:
        raise KeyboardInterrupt

    monkeypatch.setattr(killed, "_judge_newest", die)
    with pytest.raises(KeyboardInterrupt):
        killed.step()
    assert home.stores.registry.versions("task-1") == [1]
    assert home.certification().judged_version == 0

    events = home.learner().step()

    assert kinds(events) == ["certified"]
    assert (home.certification().version, home.certification().judged_version) == (1, 1)


def test_a_version_that_was_damaged_before_it_was_judged_is_made_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that cannot be judged must not keep the task from its next one."""
    home.harvest(tickets(600))
    killed = home.learner()
    monkeypatch.setattr(killed, "_judge_newest", lambda task, version: killed._postpone(task, "killed"))
    killed.step()
    (home.stores.registry.folder("task-1", 1) / "head.npz").write_bytes(b"damaged")

    events = home.learner().step()

    assert kinds(events) == ["postponed", "certified"]
    assert "head.npz was changed after publishing" in events[0].detail
    assert home.certification().version == 1
    assert home.certification().note == ""


def test_a_certificate_lapses_when_its_days_are_over(home: Home) -> None:
    """And says so days before."""
    learner = home.learner()
    fed(home, learner)
    expires_at = home.certificate().expires_at

    home.now = expires_at - 3 * 86_400
    learner.step()
    warned = home.certificate()
    home.now = expires_at + 1
    events = learner.step()

    assert warned.note.startswith("lapses on 1970-01-31 unless")
    assert kinds(events)[:1] == ["lapsed"]
    assert (home.certificate().stage, home.certificate().threshold) == ("shadow", None)


def test_a_risk_target_that_a_policy_adds_is_judged_without_training(home: Home) -> None:
    """Two policies of one task are both served from the same audits."""
    fed(home, home.learner(alpha=0.1))
    versions = home.stores.registry.versions("task-1")
    stricter = home.learner(alpha=0.08)
    home.harvest(tickets(1, start=700))

    events = stricter.step()

    targets = {each.target.alpha for each in home.certification().certificates}
    assert targets == {0.08}
    assert kinds(events)[-1] in {"certified", "kept", "trained"}
    assert home.stores.registry.versions("task-1") == versions


def test_a_version_of_another_encoder_is_revoked_and_made_again_at_once(home: Home) -> None:
    """Its scores are no longer those that were certified; waiting for growth would cost weeks of money."""
    fed(home, home.learner())
    before, task = home.certification(), home.stores.tasks.get("task-1")
    home.change_encoder("toy@2")

    events = home.learner().step()

    again = home.stores.tasks.get("task-1")
    assert task is not None
    assert again is not None
    assert again.vector == home.encoder.encode(task.template_text).tobytes() != task.vector
    after = home.certification()
    assert kinds(events) == ["revoked", "certified"]
    assert after.version == home.stores.registry.versions("task-1")[-1]
    assert after.version != before.version
    assert home.stores.registry.read("task-1", after.version).encoder == "toy@2"


def test_a_version_of_another_encoder_that_was_not_judged_is_deleted(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(task: str, version: int) -> Event:
        raise KeyboardInterrupt

    learner = home.learner()
    monkeypatch.setattr(learner, "_judge_newest", die)
    with pytest.raises(KeyboardInterrupt):
        fed(home, learner, count=300)
    home.change_encoder("toy@2")

    events = home.learner().step()

    assert "trained on toy@1, this machine runs toy@2" in events[0].detail
    assert kinds(events)[0] == "postponed"


def test_a_correction_is_learnt_without_waiting_for_growth(home: Home) -> None:
    """And once the review is over: a version for each verdict would spend delta on each."""
    learner = home.learner()
    fed(home, learner)
    rows = [row for row in home.stores.harvest.rows("task-1").rows if not row.is_held_out]
    before, versions = home.certification(), home.stores.registry.versions("task-1")

    home.stores.reviews.put([verdict_on(rows[0], "a better answer"), verdict_on(rows[1], None)])
    assert learner.step() == [], "the review goes on"
    home.now += CONFIG.review_pause_s
    (event,) = learner.step()

    assert event.version == versions[-1] + 1
    folder = home.stores.registry.folder("task-1", event.version)
    learnt = read_learnt_texts(folder)
    assert rows[1].text not in learnt
    assert rows[0].text in learnt
    assert (event.kind, home.certification().version) == ("certified", event.version), "what was wrong goes"
    assert before.version != event.version
    assert learner.step() == []


def test_what_another_process_has_learnt_is_not_learnt_again(home: Home) -> None:
    """`stepdown learn run --force`, beside `serve`, right after a review."""
    serving = home.learner()
    fed(home, serving)
    row = next(row for row in home.stores.harvest.rows("task-1").rows if not row.is_held_out)
    home.stores.reviews.put([verdict_on(row, None)])
    home.now += CONFIG.review_pause_s
    home.learner().train("task-1")

    assert serving.step() == []


def test_a_certificate_never_moves_by_a_verdict(home: Home) -> None:
    """Excluding every audit that was lost would make a certificate of anything."""
    learner = home.learner()
    fed(home, learner)
    before, versions = home.certification(), home.stores.registry.versions("task-1")

    audits = [row for row in home.stores.harvest.rows("task-1").rows if row.is_held_out]
    home.stores.reviews.put([verdict_on(row, None) for row in audits])
    home.now += CONFIG.review_pause_s

    assert learner.step() == []
    assert home.certification() == before
    assert home.stores.registry.versions("task-1") == versions


def test_an_excluded_audit_stays_a_loss_until_it_is_forgotten(home: Home) -> None:
    """The next test counts it, whatever reviewers say; what is forgotten, nothing can count."""
    learner = home.learner()
    fed(home, learner, count=900)
    version, before = home.certification().version, home.certificate()
    assert version is not None
    lost = [
        harvested(f"my refund money case {n}", "card_lost", at=float(n), held_out=True)
        for n in range(900, 905)
    ]
    home.harvest(lost)
    home.stores.reviews.put([verdict_on(row, None) for row in lost])
    home.now += CONFIG.review_pause_s

    learner.promote("task-1", version)
    excluded = home.certificate()
    for row in lost:
        forget(home.folder / "harvest", Selection(request_id=row.request_id))
    learner.promote("task-1", version)

    assert excluded.losses == before.losses + len(lost)
    assert home.certificate().losses == before.losses


def test_an_older_version_drafts_again_if_the_evidence_certifies_it(home: Home) -> None:
    learner = home.learner()
    fed(home, learner, count=1_200)
    newest = home.certification().version
    assert newest is not None
    older = [one for one in home.stores.registry.versions("task-1") if one < newest][-1]

    event = learner.promote("task-1", older)

    assert (event.kind, home.certification().version) == ("certified", older)
    assert home.certificate().stage == "live"
    assert learner.step() == [], "what was promoted by hand stays until more has come"


def test_what_the_evidence_does_not_certify_takes_no_ones_place(home: Home) -> None:
    learner = home.learner()
    fed(home, learner)
    live = home.certification()
    assert live.stage == "live"

    event = learner.promote("task-1", 1)

    assert home.certification().version == (1 if event.kind == "certified" else live.version)
    assert home.certificate().stage == "live"


@pytest.mark.parametrize("is_left", ["nothing", "the manifest"])
def test_what_lost_its_files_keeps_no_ones_place(home: Home, is_left: str) -> None:
    """Its certificate would wait for a version that nothing can load, and the advice is to roll back."""
    learner = home.learner()
    fed(home, learner)
    live = home.certification().version
    assert live is not None
    folder = home.stores.registry.folder("task-1", live)
    for path in list(folder.iterdir()):
        if is_left == "nothing" or path.name != MANIFEST:
            path.unlink()
    if is_left == "nothing":
        folder.rmdir()

    learner.promote("task-1", 1)

    assert home.certification().version == 1


def test_a_version_is_made_by_hand_before_its_time(home: Home) -> None:
    learner = home.learner()
    fed(home, learner, count=300)
    versions = home.stores.registry.versions("task-1")

    (event,) = learner.train("task-1")

    assert event.version == versions[-1] + 1
    assert home.learner().train("another")[-1].kind == "postponed"


def test_a_pinned_task_keeps_its_version_however_much_comes(home: Home) -> None:
    learner = home.learner()
    fed(home, learner)
    version = home.certification().version
    home.stores.pins.pin("task-1")

    fed(home, learner, start=600, count=600)

    assert home.certification().version == version
    home.stores.pins.unpin("task-1")
    assert kinds(fed(home, learner, start=1_200, count=50)) != []
