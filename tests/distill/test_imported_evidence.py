"""With `imported: serve` what imported rows taught serves at once, on evidence that stays apart."""

from __future__ import annotations

import msgspec
import pytest

from gateway.core import ANY_TARGET, NOT_CONFIRMED, Certificate, RiskTarget, Source
from gateway.distill.learner import Learner
from gateway.harvest.base import Row
from gateway.specialists.learnt import read_learnt_texts
from tests.distill.conftest import Home, tickets

ON_IMPORTED = RiskTarget(0.05, 0.1, evidence="imported")
ON_AUDITS = ON_IMPORTED.confirmed


def imported(home: Home, count: int = 2_500, *, held_out: float = 0.2, shift: int = 0) -> list[Row]:
    """Harvest what an import under `imported: serve` does; return the rows held out.

    `shift` gives those answers that the lessons do not.
    """
    rows = tickets(round(count * (1 - held_out)), held_out_share=0.0)
    kept = [
        msgspec.structs.replace(row, propensity=0.0)
        for row in tickets(round(count * held_out), start=len(rows), held_out_share=1.0, shift=shift)
    ]
    home.harvest([*rows, *kept])
    home.stores.imports.add({"task-1": count})
    return kept


def audits(count: int, *, start: int = 5_000, noise: float = 0.0, shift: int = 0) -> list[Row]:
    return tickets(count, start=start, held_out_share=1.0, noise=noise, shift=shift)


def find(home: Home, evidence: Source) -> Certificate | None:
    """Return the certificate for new texts on such evidence."""
    found = [
        each
        for each in home.certification().certificates
        if (each.stratum, each.target.evidence) == ("new", evidence)
    ]
    return found[0] if found else None


@pytest.fixture
def learner(home: Home) -> Learner:
    return home.learner(alpha=0.05, evidence="imported")


def test_it_serves_before_any_live_audit_and_only_those_that_say_so(home: Home, learner: Learner) -> None:
    kept = imported(home)

    learner.step()

    certification, now = home.certification(), home.now
    ours = find(home, "imported")
    assert ours is not None
    assert (ours.stage, ours.audits, ours.losses) == ("live", len(kept), 0.0)
    assert ours.accepted >= 45
    assert ours.note.startswith(NOT_CONFIRMED)
    assert ours.renewal_share == 1.0, "as many audits as the policy allows confirm it soonest"
    assert certification.serves(ON_IMPORTED, now)
    assert not certification.serves(ON_AUDITS, now)
    assert not certification.serves(ANY_TARGET.confirmed, now)


def test_no_training_saw_its_evidence(home: Home, learner: Learner) -> None:
    kept = imported(home)

    learner.step()

    learnt = read_learnt_texts(home.stores.registry.folder("task-1", 1))
    assert len(learnt) == 2_000
    assert not any(row.text in learnt for row in kept)


def test_a_policy_that_confirms_gets_nothing_from_held_out_rows(home: Home) -> None:
    imported(home)
    learner = home.learner(alpha=0.05)

    learner.step()

    assert home.certification().stage == "shadow"
    assert not home.certification().serves(ANY_TARGET, home.now)


def test_live_audits_that_confirm_it_replace_it(home: Home, learner: Learner) -> None:
    """By themselves: no imported row is among the audits of the ordinary certificate."""
    imported(home)
    learner.step()

    home.harvest(audits(44))
    learner.step()
    waiting = find(home, "live")
    assert waiting is not None
    assert (waiting.stage, waiting.audits, waiting.attempts) == ("shadow", 44, 0)
    assert home.certification().serves(ON_IMPORTED, home.now)

    home.harvest(audits(14, start=6_000))
    learner.step()
    confirmed = find(home, "live")
    assert confirmed is not None
    assert (confirmed.stage, confirmed.audits, confirmed.attempts) == ("live", 58, 2)
    assert find(home, "imported") is None
    assert home.certification().serves(ON_IMPORTED, home.now), "a live certificate is worth more"
    assert home.certification().version == 1


def test_live_audits_that_refute_it_end_it(home: Home, learner: Learner) -> None:
    imported(home)
    learner.step()

    home.harvest(audits(70, noise=0.5))
    learner.step()

    assert home.certification().stage == "shadow"
    ended = find(home, "imported")
    assert ended is None or ended.threshold is None
    home.harvest(audits(60, start=7_000))
    learner.step()
    assert not home.certification().serves(ON_IMPORTED, home.now)


def test_another_mix_is_alarm_although_its_answers_are_right(home: Home, learner: Learner) -> None:
    """Half of the texts have words that no import knew: what was imported says nothing of this traffic."""
    imported(home)
    learner.step()
    known, strange = audits(20), audits(20, start=6_000)
    other = [msgspec.structs.replace(row, text=f"zebra quokka {row.at:g} lemur") for row in strange]
    mixed = [row for pair in zip(known, other, strict=True) for row in pair]

    home.harvest([msgspec.structs.replace(row, at=20_000.0 + at) for at, row in enumerate(mixed)])
    learner.step()

    ours, confirming = find(home, "imported"), find(home, "live")
    assert ours is not None
    assert (ours.stage, home.certification().stage) == ("alarm", "alarm")
    assert "another mix" in ours.note
    assert home.certification().epoch == 1, "alarms are counted"
    assert not home.certification().serves(ANY_TARGET, home.now)
    assert confirming is not None, "what live audits confirm meanwhile goes on"
    assert (confirming.stage, confirming.attempts, confirming.renewal_share) == ("shadow", 0, 1.0)


def test_imported_rows_that_differ_certify_nothing_and_are_tested_once(home: Home, learner: Learner) -> None:
    imported(home, shift=1)
    learner.step()
    tested = find(home, "imported")
    assert tested is not None
    assert (tested.stage, tested.threshold, tested.attempts) == ("shadow", None, 2)
    assert "do not certify" in tested.note

    home.harvest(audits(20))
    learner.step()
    assert find(home, "imported") == tested


def test_what_was_imported_before_the_policy_is_learnt_and_is_no_evidence(
    home: Home, learner: Learner
) -> None:
    imported(home, held_out=0.0)

    learner.step()

    ours = find(home, "imported")
    assert ours is not None
    assert (ours.stage, ours.attempts) == ("shadow", 0)
    assert "0 held-out imported rows pass, 45 are needed" in ours.note


def test_another_version_does_not_inherit_it(home: Home, learner: Learner) -> None:
    """It is no better by any live audit, so the one that serves stays."""
    imported(home)
    learner.step()

    learner.train("task-1")

    assert max(home.stores.registry.versions("task-1")) == 2
    assert home.certification().version == 1
    assert home.certification().serves(ON_IMPORTED, home.now)


def test_it_ends_when_no_policy_asks_for_it_any_more(home: Home, learner: Learner) -> None:
    imported(home)
    learner.step()

    home.learner(alpha=0.05).step()

    assert find(home, "imported") is None
    assert home.certification().stage == "shadow"


def test_after_an_alarm_only_live_audits_count(home: Home, learner: Learner) -> None:
    imported(home)
    learner.step()
    certification = home.certification()
    alarms = tuple(
        msgspec.structs.replace(
            each, target=each.target.confirmed, stage="alarm", threshold=None, attempts=0, valid_from=4_000.0
        )
        for each in certification.certificates
        if each.target.evidence == "imported"
    )
    home.stores.certifications.put(msgspec.structs.replace(certification, epoch=1, certificates=alarms))

    home.harvest(audits(30))
    learner.train("task-1")

    assert find(home, "imported") is None
    assert home.certification().stage == "alarm"


def test_it_lapses_like_any_certificate(home: Home, learner: Learner) -> None:
    imported(home)
    learner.step()

    home.now += 31 * 86_400
    learner.step()

    assert not home.certification().serves(ON_IMPORTED, home.now)
