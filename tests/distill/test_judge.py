"""What a version may do: tested on the right evidence, with no attempt that cannot win."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from gateway.confidence.sample_size import audits_to_settle
from gateway.core import Certificate, Certification, DraftRequest, MatchKind, RiskTarget, Stratum, hash_text
from gateway.distill.base import Config, EvalResult
from gateway.distill.judge import Judge
from gateway.distill.prospects import Candidate
from gateway.distill.renewal import expected_share, with_attempts_of
from gateway.distill.scored_audits import score_audits
from gateway.harvest.base import Row
from gateway.specialists.base import Listener, Prediction
from gateway.specialists.learnt import LearntTexts
from tests.distill.conftest import harvested
from tests.support.builders import certified

NOW = 100_000.0
TARGET = RiskTarget(0.05, 0.1)
SURE = EvalResult([0.99] * 1000, [0.0] * 1000)
POOR = EvalResult([0.99] * 1000, [0.0, 1.0] * 500)


class SureOf:
    """A specialist that is sure of one answer."""

    is_remote = False

    def __init__(self, answer: str = "yes") -> None:
        self._answer = answer

    def draft(self, draft_request: DraftRequest, listener: Listener) -> Prediction:
        return Prediction(text=self._answer, score=0.99, evidence={"similarity": 0.8})

    def close(self) -> None:
        pass


def evidence(count: int, answer: str = "yes", match: MatchKind = "fingerprint", at: float = 0.0) -> list[Row]:
    return [harvested(f"{match} {n}", answer, at=at + n, held_out=True, match=match) for n in range(count)]


def candidate(validation: EvalResult = SURE, learnt: Sequence[str] = (), version: int = 5) -> Candidate:
    hashes = [hash_text(text) for text in learnt]
    return Candidate(
        version=version,
        runtime=SureOf(),
        learnt=LearntTexts(hashes),
        deferral=None,
        validation=validation,
    )


def judged(
    rows: Sequence[Row],
    old: Certification | None = None,
    of: Candidate | None = None,
    targets: Sequence[RiskTarget] = (TARGET,),
) -> dict[tuple[Stratum, float], Certificate]:
    judge = Judge(Config(), clock=lambda: NOW)
    version = of or candidate()
    audits = score_audits(version, rows, targets)
    result = judge.judge_version(version, old or Certification(task="task-1"), audits, targets)
    assert (result.version, result.judged_version) == (5, 5)
    return {(each.stratum, each.target.alpha): each for each in result.certificates}


def renew(live: Certification, rows: Sequence[Row], validation: EvalResult = SURE) -> Certification:
    judge, version = Judge(Config(), clock=lambda: NOW), candidate(validation)
    return judge.renew(version, live, score_audits(version, rows, (TARGET,)), (TARGET,))


def test_enough_evidence_is_certified_and_dated() -> None:
    live = judged(evidence(200))["new", 0.05]

    assert (live.stage, live.attempts, live.audits, live.losses) == ("live", 1, 200, 0.0)
    assert (live.evidence_from, live.evidence_to) == (0.0, 199.0)
    assert live.expires_at == NOW + 30 * 86_400
    assert live.forms == ("single/short",)


def test_each_stratum_is_tested_on_its_own_evidence() -> None:
    """Texts that return can never vouch for new ones, nor a near copy for the template itself."""
    learnt = [f"fingerprint {n}" for n in range(150)]
    rows = evidence(170) + evidence(20, match="embedding")

    results = judged(rows, of=candidate(learnt=learnt))

    assert (results["learnt", 0.05].stage, results["learnt", 0.05].audits) == ("live", 150)
    assert (results["new", 0.05].stage, results["new", 0.05].audits) == ("shadow", 20)
    assert (results["variant", 0.05].stage, results["variant", 0.05].audits) == ("shadow", 20)


def test_each_risk_target_gets_a_threshold_from_the_same_audits() -> None:
    wrong = [msgspec.structs.replace(row, answer="no") for row in evidence(6)]
    rows = wrong + evidence(400)[6:]

    results = judged(rows, targets=(RiskTarget(0.01), TARGET))

    assert (results["new", 0.01].stage, results["new", 0.05].stage) == ("shadow", "live")


@pytest.mark.parametrize(("count", "validation"), [(40, SURE), (200, POOR)])
def test_no_attempt_is_spent_where_it_would_probably_fail(count: int, validation: EvalResult) -> None:
    result = judged(evidence(count), of=candidate(validation))["new", 0.05]

    assert (result.stage, result.attempts) == ("shadow", 0)
    assert result.audits_missing is not None


def test_whether_to_attempt_never_depends_on_what_the_evidence_says() -> None:
    """Else the certificate would be conditioned on its own evidence."""
    attempts = [judged(evidence(200, answer))["new", 0.05].attempts for answer in ("yes", "no")]

    assert attempts == [1, 1]


def test_a_shadow_says_plainly_what_is_missing() -> None:
    few = judged(evidence(40))["new", 0.05]
    poor = judged(evidence(40), of=candidate(POOR))["new", 0.05]

    assert few.note == f"a certificate needs about {few.audits_missing} more audits"
    assert "in validation 50" in poor.note
    assert "needs more training rows" in poor.note


def test_as_many_audits_as_are_said_to_be_missing_are_enough() -> None:
    missing = judged(evidence(40))["new", 0.05].audits_missing

    assert missing is not None
    assert judged(evidence(40 + missing))["new", 0.05].attempts == 1


def test_what_the_teacher_refused_is_a_loss() -> None:
    refused = [msgspec.structs.replace(row, ending="refused", answer="") for row in evidence(30)]

    result = judged(refused + evidence(200)[30:])["new", 0.05]

    assert (result.stage, result.attempts) == ("shadow", 1)


def test_a_draft_that_could_not_be_served_is_no_accepted_audit() -> None:
    """A client that allows one token would never have got it."""
    from gateway.core import Demands

    short = msgspec.msgpack.encode(Demands(max_tokens=1))
    rows = [msgspec.structs.replace(row, demands=short, answer="no") for row in evidence(100)]

    result = judged(rows + evidence(300)[100:])["new", 0.05]

    assert (result.stage, result.audits, result.accepted) == ("live", 300, 200)


def test_evidence_from_before_an_alarm_does_not_count() -> None:
    old = certified("task-1", 4, stage="alarm", threshold=None, target=TARGET, valid_from=190.0)

    result = judged(evidence(200), old)["new", 0.05]

    assert (result.stage, result.audits) == ("alarm", 10)


def test_evidence_that_is_too_old_does_not_count() -> None:
    week = RiskTarget(0.05, 0.1, days=1.0)

    result = judged(evidence(100) + evidence(30, at=NOW - 50), targets=(week,))["new", 0.05]

    assert result.audits == 30


def test_attempts_of_another_version_end_what_they_do_not_renew() -> None:
    """The certificate in force must come from one of the last two attempts."""
    kept = certified("task-1", 4, target=TARGET, attempts=3, issued_at_attempt=3)
    failed_once = certified("task-1", 5, target=TARGET, stage="shadow", threshold=None, attempts=4)
    failed_twice = certified("task-1", 5, target=TARGET, stage="shadow", threshold=None, attempts=5)

    once, twice = (with_attempts_of(kept, tested, NOW) for tested in (failed_once, failed_twice))

    assert (once.version, {each.stage for each in once.certificates}) == (4, {"live"})
    assert {each.stage for each in twice.certificates} == {"shadow"}


def test_a_renewal_that_cannot_win_yet_leaves_what_is_in_force() -> None:
    live = certified("task-1", 5, target=TARGET, attempts=1, issued_at_attempt=1)

    renewed = renew(live, evidence(10))

    assert renewed.certificates[0] == live.certificates[0]


def test_a_renewal_that_fails_ends_what_was_in_force() -> None:
    """Today's audits do not support what older ones did: the traffic or the teacher has changed."""
    live = certified("task-1", 5, target=TARGET, attempts=1, issued_at_attempt=1)

    renewed = renew(live, evidence(300, "no"))

    assert (renewed.certificates[0].stage, renewed.certificates[0].threshold) == ("shadow", None)
    assert renewed.certificates[0].attempts == 2


def test_a_young_certificate_is_not_risked_for_a_probable_win() -> None:
    """It could stay as it is: a failed test would end it."""
    probable = EvalResult([0.99] * 1000, [0.0] * 984 + [1.0] * 16)
    young = certified("task-1", 5, target=TARGET, attempts=1, issued_at_attempt=1, coverage=0.8)
    old = msgspec.structs.replace(
        young,
        certificates=tuple(msgspec.structs.replace(each, expires_at=NOW + 9) for each in young.certificates),
    )

    results = [renew(live, evidence(300), probable).certificates[0] for live in (young, old)]

    assert [each.attempts for each in results] == [1, 2]
    assert results[0].threshold == young.certificates[0].threshold


def test_a_young_certificate_with_enough_evidence_is_settled_without_a_test() -> None:
    """Audits would go on at the settling share although more of them change nothing."""
    risky = EvalResult([0.99] * 1000, [0.0] * 965 + [1.0] * 35)
    young = certified(
        "task-1", 5, target=TARGET, attempts=1, issued_at_attempt=1, coverage=0.8, is_settled=False
    )

    settled = renew(young, evidence(audits_to_settle(0.05, 0.1)), risky).certificates[0]

    assert (settled.is_settled, settled.attempts, settled.stage) == (True, 1, "live")


def test_a_version_is_not_tested_where_a_probable_failure_would_end_what_is_in_force() -> None:
    probable = candidate(EvalResult([0.99] * 1000, [0.0] * 984 + [1.0] * 16))
    first, last = (
        certified("task-1", 4, target=TARGET, attempts=attempts, issued_at_attempt=1, coverage=0.8)
        for attempts in (1, 2)
    )
    judge = Judge(Config(), clock=lambda: NOW)
    audits = score_audits(probable, evidence(300), (TARGET,))

    assert judge.may_improve(probable, first, audits, (TARGET,))
    assert not judge.may_improve(probable, last, audits, (TARGET,))


def test_a_renewal_moves_the_dates() -> None:
    live = certified("task-1", 5, target=TARGET, attempts=1, issued_at_attempt=1, expires_at=NOW + 9)

    renewed = renew(live, evidence(300, at=NOW - 299))

    assert renewed.certificates[0].expires_at == NOW + 30 * 86_400
    assert renewed.certificates[0].issued_at_attempt == 2


def held_and_new() -> list[Row]:
    """300 audits of the shadow that a certificate rests on, and the few that came since."""
    since = [msgspec.structs.replace(row, propensity=0.02) for row in evidence(9, at=1_000.0)]
    return evidence(300) + [msgspec.structs.replace(row, text=f"since {row.text}") for row in since]


@pytest.mark.parametrize("is_suspect", [False, True])
def test_a_successor_may_stand_on_what_the_certificate_in_force_stands_on(is_suspect: bool) -> None:
    """Else no later version could win before the window is over; where something changed, none may."""
    old = certified(
        "task-1",
        4,
        target=TARGET,
        attempts=1,
        issued_at_attempt=1,
        evidence_to=299.0,
        expires_at=NOW + 500.0,
        is_settled=True,
        is_suspect=is_suspect,
    )

    new = judged(held_and_new(), old)["new", 0.05]

    if is_suspect:
        assert (new.stage, new.attempts) == ("shadow", 1)
    else:
        assert (new.stage, new.audits, new.evidence_to) == ("live", 300, 299.0)
        assert (new.expires_at, new.is_settled) == (max(NOW + 500.0, 299.0 + 30 * 86_400), True)


def test_the_same_version_is_renewed_by_todays_traffic_alone() -> None:
    live = certified(
        "task-1", 5, target=TARGET, attempts=1, issued_at_attempt=1, evidence_to=299.0, expires_at=NOW + 9
    )

    assert renew(live, held_and_new()).certificates[0] == live.certificates[0]


def test_the_expected_share_weighs_strata_by_their_audits() -> None:
    one, two, three = certified("task-1", 5).certificates
    certification = Certification(
        task="task-1",
        version=5,
        certificates=(
            msgspec.structs.replace(one, audits=300, coverage=0.5),
            msgspec.structs.replace(two, audits=100, coverage=0.9),
            msgspec.structs.replace(three, audits=100, coverage=0.9, stage="shadow"),
        ),
    )

    assert expected_share(certification, NOW) == pytest.approx(240 / 500)


def test_lists_that_lack_an_item_are_certified_by_graded_agreement_alone() -> None:
    """Every answer is wrong by the exact one, and loses 4 % by F1."""
    items = [f"item {n}" for n in range(13)]
    rows = [msgspec.structs.replace(row, answer=", ".join(items)) for row in evidence(600)]
    graded = RiskTarget(0.1, agreement="set_f1")
    known = EvalResult([0.99] * 1000, [1.0] * 1000, graded={"set_f1": [0.04] * 1000})
    lacking = msgspec.structs.replace(candidate(known), runtime=SureOf(", ".join(items[1:])))

    results = judged(rows, of=lacking, targets=(graded, TARGET))

    assert (results["new", 0.1].stage, results["new", 0.05].attempts) == ("live", 0)
    assert results["new", 0.1].losses == pytest.approx(600 * 0.04)
