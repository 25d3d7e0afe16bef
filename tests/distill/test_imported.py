"""What imported rows taught serves after live audits have confirmed the one threshold that they chose."""

from __future__ import annotations

import msgspec
import pytest

from gateway.core import Certificate, RiskTarget
from gateway.distill.learner import Learner
from gateway.distill.prospects import audits_at_once, choose_hypothesis
from gateway.harvest.base import Row
from tests.distill.conftest import Home, tickets


def imported(home: Home, count: int = 2_000, noise: float = 0.0) -> list[Row]:
    """Harvest lessons as an import does, and note that it did."""
    rows = tickets(count, held_out_share=0.0, noise=noise)
    home.harvest(rows)
    home.stores.imports.add({"task-1": count})
    return rows


def audits(count: int, *, start: int = 5_000, shift: int = 0, noise: float = 0.0) -> list[Row]:
    return tickets(count, start=start, held_out_share=1.0, shift=shift, noise=noise)


def test_one_threshold_is_confirmed_by_as_few_audits_as_the_binomial_allows(home: Home) -> None:
    """At 5 % and 10 %: 45 without an error. Not before, and not by what was imported."""
    imported(home)
    learner = home.learner(alpha=0.05)
    learner.step()
    assert home.certification().version == 1
    assert home.certification().stage == "shadow"

    home.harvest(audits(44))
    learner.step()
    assert home.certificate().stage == "shadow"
    assert "imported rows" in home.certificate().note

    home.harvest(audits(14, start=6_000))
    learner.step()
    certificate = home.certificate()
    assert (certificate.stage, certificate.attempts, certificate.issued_at_attempt) == ("live", 2, 1)
    assert 45 <= certificate.accepted <= 58
    assert home.certification().version == 1, "audits alone teach nothing new"


def test_audits_that_differ_refute_it(home: Home) -> None:
    """Another teacher answers one in three otherwise: both levels are spent, and nothing serves."""
    imported(home)
    learner = home.learner(alpha=0.05)
    learner.step()

    home.harvest(audits(60, noise=0.5))
    learner.step()

    assert (home.certificate().stage, home.certificate().attempts) == ("shadow", 2)


def test_without_imports_nothing_is_decided_by_one_threshold(home: Home) -> None:
    home.harvest(tickets(2_000, held_out_share=0.0))
    learner = home.learner(alpha=0.05)
    learner.step()

    home.harvest(audits(60))
    learner.step()

    assert home.certificate().attempts <= 1


@pytest.mark.parametrize(("alpha", "accepted"), [(0.05, 45), (0.02, 114)])
def test_a_sure_student_needs_no_error_in_so_many(home: Home, alpha: float, accepted: int) -> None:
    imported(home, 5_000)
    home.learner().step()
    fresh = Certificate(stratum="new", target=RiskTarget(alpha, 0.1))
    with home.learner()._builder.open_version("task-1", 1) as candidate:
        threshold = choose_hypothesis(candidate, fresh)
        assert threshold is not None
        assert audits_at_once(candidate, fresh, threshold) == accepted
        assert choose_hypothesis(candidate, msgspec.structs.replace(fresh, attempts=1)) is None
        assert choose_hypothesis(candidate, msgspec.structs.replace(fresh, stage="alarm")) is None


def almost_confirmed(home: Home) -> Learner:
    """Import, learn, and look once at 61 live audits of which one is wrong."""
    imported(home)
    learner = home.learner(alpha=0.05)
    learner.step()
    home.harvest([*audits(60), *audits(1, start=5_100, shift=1)])
    learner.step()
    return learner


def test_one_wrong_audit_delays_it_and_no_more(home: Home) -> None:
    """Before, the one test was lost with all of delta: the version waited for another one."""
    learner = almost_confirmed(home)
    waiting = home.certificate()
    assert (waiting.stage, waiting.attempts, waiting.losses) == ("shadow", 0, 1.0)
    assert waiting.audits_missing is not None

    home.harvest(audits(waiting.audits_missing + 10, start=6_000))
    learner.step()
    assert (home.certificate().stage, home.certificate().losses) == ("live", 1.0)
    assert home.certification().version == 1


def test_all_looks_speak_of_the_same_requests(home: Home) -> None:
    """Forms and novelty floor are those of the first look that could have confirmed it."""
    learner = almost_confirmed(home)
    first = home.certificate()
    assert first.audits >= 56

    strange = [msgspec.structs.replace(row, text=f"{row.text} zebra", form="new") for row in audits(20)]
    home.harvest([msgspec.structs.replace(row, at=row.at + 200.0) for row in strange])
    learner.step()
    waiting = home.certificate()
    assert (waiting.audits, waiting.accepted) == (first.audits + 20, first.accepted)
    assert (waiting.forms, waiting.novelty_floor) == (first.forms, first.novelty_floor)

    home.harvest(audits(40, start=6_000))
    learner.step()
    certificate = home.certificate()
    assert certificate.stage == "live"
    assert (certificate.forms, certificate.novelty_floor) == (first.forms, first.novelty_floor)


def test_before_any_audit_every_request_is_to_be_one(home: Home) -> None:
    imported(home)
    home.learner(alpha=0.05).step()

    assert home.certificate().renewal_share == 1.0
    assert home.certificate().audits_missing == 56


def test_no_other_version_starts_again_on_audits_that_were_looked_at(home: Home) -> None:
    """More imported rows wait until these audits have decided; a version made by hand pays all of delta."""
    imported(home)
    learner = home.learner(alpha=0.05)
    learner.step()
    home.harvest(audits(30))
    learner.step()

    home.harvest(tickets(2_000, start=20_000, held_out_share=0.0))
    home.stores.imports.add({"task-1": 2_000})
    learner.step()
    assert home.stores.registry.versions("task-1") == [1]

    learner.train("task-1")
    assert home.certification().version == 2
    assert (home.certificate().attempts, home.certificate().renewal_share) == (2, 0.0)


def test_more_imported_rows_before_any_audit_are_learnt_and_confirmed_in_turn(home: Home) -> None:
    imported(home)
    learner = home.learner(alpha=0.05)
    learner.step()

    home.harvest(tickets(2_000, start=20_000, held_out_share=0.0))
    home.stores.imports.add({"task-1": 2_000})
    learner.step()
    home.harvest(audits(70))
    learner.step()

    assert (home.certification().version, home.certificate().stage) == (2, "live")
