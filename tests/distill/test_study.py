from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from gateway.core import Lane, Standing
from gateway.distill.base import Config, Lessons, Promise, Report, Scored
from gateway.distill.recipes import head as recipe
from gateway.distill.study import Choice, Study
from gateway.errors import RegistryError, TrainingError
from gateway.harvest.base import Row
from gateway.registry.models import Registry
from gateway.specialists.base import Proposal, Runtime
from gateway.specialists.runtimes import head as runtime
from tests.distill.conftest import ToyEncoder, harvested, tickets

LANES: tuple[Lane, ...] = ("fingerprint", "embedding")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


@pytest.fixture
def study(registry: Registry, encoder: ToyEncoder) -> Study:
    return Study(
        recipe=recipe.create(recipe.Config(), encoder),
        registry=registry,
        open_runtime=lambda _, folder: runtime.create(folder, encoder),
        encoder_name=encoder.name,
        config=Config(),
    )


class Always:
    """A specialist which is sure of one answer."""

    def draft(self, text: str) -> Proposal:
        return Proposal(text="yes", score=0.99)


def evidence(count: int, lane: Lane = "fingerprint", at: float = 0.0) -> list[Row]:
    return [harvested(f"{lane} {n}", "yes", at=at + n, held_out=True, lane=lane) for n in range(count)]


def examined(
    study: Study,
    rows: Sequence[Row],
    standings: Sequence[Standing],
    rehearsal: Scored | None = None,
    specialist: Runtime | None = None,
) -> dict[Lane, Standing]:
    results = study.examine(
        specialist or Always(),
        version=5,
        standings={standing.lane: standing for standing in standings},
        evidence=rows,
        choice=Choice([], rehearsal or Scored([0.9] * 1000, [0.0] * 1000)),
        promise=Promise(0.05, 0.1),
    )
    return {result.lane: result for result in results}


def test_old_rows_are_left_out_when_the_teacher_has_changed_its_mind(study: Study) -> None:
    rows = tickets(200) + tickets(200, start=200, shift=1)
    choice = study.choose(rows, 200.0, seed=0)
    assert [row.at for row in choice.rows] == [float(n) for n in range(200, 400)]


def test_old_rows_help_when_they_still_hold(study: Study) -> None:
    """Ten new rows alone teach less than two hundred old ones beside them."""
    rows = tickets(240)
    assert len(study.choose(rows, 210.0, seed=0).rows) == 240


def test_the_rehearsal_is_an_exam_of_fresh_rows_only(study: Study) -> None:
    choice = study.choose(tickets(200) + tickets(200, start=200), 200.0, seed=0)
    assert choice.rehearsal is not None
    assert 30 <= len(choice.rehearsal.scores) <= 70


def test_no_row_is_in_the_lessons_and_the_exam_of_a_rehearsal(registry: Registry) -> None:
    asked: list[tuple[set[str], set[str]]] = []

    class Spy:
        name = runtime = "spy"

        def rehearse(self, lessons: Lessons, exam: Lessons, seed: int) -> Scored:
            asked.append((set(lessons.texts), set(exam.texts)))
            return Scored([0.5] * len(exam.texts), [0.0] * len(exam.texts))

        def train(self, lessons: Lessons, folder: Path, seed: int) -> Report:
            raise TrainingError("not asked for")

    study = Study(
        recipe=Spy(),
        registry=registry,
        open_runtime=lambda _, __: Always(),
        encoder_name="",
        config=Config(),
    )
    study.choose(tickets(100), 50.0, seed=0)

    assert len(asked) == 2
    assert not any(lessons & exam for lessons, exam in asked)


def test_what_is_published_says_where_it_comes_from(study: Study, registry: Registry) -> None:
    rows = tickets(100)
    specialist = study.publish(study.manifest("task-1", 7, {"training": 100.0}), rows)

    manifest, _ = registry.verify("task-1", 1)
    assert (manifest.recipe, manifest.runtime, manifest.seed, manifest.parent) == ("head", "head", 7, None)
    assert (manifest.rows, manifest.answers, manifest.metrics) == (100, 3, {"training": 100.0})
    assert specialist.draft(rows[0].text).text == rows[0].answer
    assert study.manifest("task-1", 7, {}).version == 2


def test_a_version_number_is_never_used_twice(study: Study) -> None:
    draft = study.manifest("task-1", 0, {})
    study.publish(draft, tickets(100))
    with pytest.raises(RegistryError):
        study.publish(draft, tickets(100))


def test_enough_evidence_is_certified_and_the_attempt_counted(study: Study, shadow: Standing) -> None:
    result = examined(study, evidence(200), [shadow])["fingerprint"]
    assert (result.serves, result.version, result.attempts) == (True, 5, 1)


def test_no_attempt_is_spent_where_it_would_probably_fail(study: Study, shadow: Standing) -> None:
    for rows, rehearsal in (
        (evidence(40), Scored([0.9] * 1000, [0.0] * 1000)),
        (evidence(200), Scored([0.9] * 1000, [0.0, 1.0] * 500)),
    ):
        result = examined(study, rows, [shadow], rehearsal)["fingerprint"]
        assert (result.serves, result.attempts, result.version) == (False, 0, 5)


def test_a_shadow_asks_for_what_the_next_attempt_will_ask(study: Study, shadow: Standing) -> None:
    """As many audits as are said to be missing are enough for the attempt to be made."""
    missing = examined(study, evidence(40), [shadow])["fingerprint"].audits_missing

    assert missing is not None
    assert examined(study, evidence(40 + missing), [shadow])["fingerprint"].attempts == 1


def test_a_specialist_which_errs_too_often_is_said_to_need_lessons(study: Study, shadow: Standing) -> None:
    poor = Scored([0.9] * 1000, [0.0, 1.0] * 500)
    result = examined(study, evidence(40), [shadow], poor)["fingerprint"]
    assert "needs more lessons" in result.note
    assert result.audits_missing is not None


def test_whether_to_attempt_never_depends_on_what_the_evidence_says(study: Study, shadow: Standing) -> None:
    """Else the certificate would be conditioned on its own evidence."""
    agreeing = evidence(200)
    disagreeing = [msgspec.structs.replace(row, answer="no") for row in agreeing]
    attempts = [examined(study, rows, [shadow])["fingerprint"].attempts for rows in (agreeing, disagreeing)]
    assert attempts == [1, 1]


def test_each_attempt_has_less_delta_than_the_last(study: Study, shadow: Standing) -> None:
    """What the first attempt certifies, the ninth does not: 6 / (pi^2 81) of delta is left for it."""
    tired = msgspec.structs.replace(shadow, attempts=8)
    outcomes = [examined(study, evidence(130), [old])["fingerprint"] for old in (shadow, tired)]
    assert [outcome.serves for outcome in outcomes] == [True, False]


def test_lanes_share_delta_and_their_own_evidence_decides(study: Study, shadow: Standing) -> None:
    other = msgspec.structs.replace(shadow, lane="embedding")
    results = examined(study, evidence(200) + evidence(20, "embedding"), [shadow, other])
    assert (results["fingerprint"].serves, results["embedding"].serves) == (True, False)
    assert (results["fingerprint"].attempts, results["embedding"].attempts) == (1, 0)


def test_evidence_from_before_the_alarm_does_not_count(study: Study, shadow: Standing) -> None:
    alarm = msgspec.structs.replace(shadow, stage="alarm", epoch=1, valid_from=190.0)
    result = examined(study, evidence(200), [alarm])["fingerprint"]
    assert (result.serves, result.audits) == (False, 10)
