from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from gateway.core import DraftRequest, Lane, Standing
from gateway.distill.base import Config, EvalResult, Report, RiskTarget, TrainingSet, Workspace
from gateway.distill.recipes import head as recipe
from gateway.distill.version_builder import Choice, VersionBuilder
from gateway.errors import RegistryError, TrainingError
from gateway.harvest.base import Row
from gateway.registry.models import Registry
from gateway.specialists.base import Listener, Prediction, Runtime
from gateway.specialists.runtimes.head import runtime
from tests.distill.conftest import ToyEncoder, harvested, tickets
from tests.specialists.hosting import drafted, resources_of

HEAD = recipe.create(recipe.Config())
LANES: tuple[Lane, ...] = ("fingerprint", "embedding")
Build = Callable[..., VersionBuilder]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


@pytest.fixture
def build(registry: Registry, encoder: ToyEncoder, tmp_path: Path) -> Build:
    """Return the builder with these recipes, the quickest first."""
    return lambda *recipes: VersionBuilder(
        recipes=recipes,
        registry=registry,
        open_runtime=lambda _, folder: runtime.create(folder, resources_of(encoder)),
        resources=resources_of(encoder),
        workspaces=tmp_path / "learn",
        config=Config(),
    )


@pytest.fixture
def builder(build: Build) -> VersionBuilder:
    return build(recipe.create(recipe.Config()))


def chosen(builder: VersionBuilder, rows: Sequence[Row], valid_from: float) -> Choice:
    return builder.choose("task-1", rows, valid_from, RiskTarget(0.05, 0.1))


def essays(count: int) -> list[Row]:
    return [harvested(f"question {n}", f"essay {n}", at=n) for n in range(count)]


class Always:
    """A specialist which is sure of one answer."""

    is_remote = False

    def draft(self, draft_request: DraftRequest, listener: Listener) -> Prediction:
        return Prediction(text="yes", score=0.99)

    def close(self) -> None:
        pass


def evidence(count: int, lane: Lane = "fingerprint", at: float = 0.0) -> list[Row]:
    return [harvested(f"{lane} {n}", "yes", at=at + n, held_out=True, lane=lane) for n in range(count)]


def examined(
    builder: VersionBuilder,
    rows: Sequence[Row],
    standings: Sequence[Standing],
    validation: EvalResult | None = None,
    specialist: Runtime | None = None,
) -> dict[Lane, Standing]:
    results = builder.evaluate(
        specialist or Always(),
        version=5,
        standings={standing.lane: standing for standing in standings},
        evidence=rows,
        choice=Choice(rows=[], recipe=HEAD, validation=validation or EvalResult([0.9] * 1000, [0.0] * 1000)),
        promise=RiskTarget(0.05, 0.1),
    )
    return {result.lane: result for result in results}


def test_old_rows_are_left_out_when_the_teacher_has_changed_its_mind(builder: VersionBuilder) -> None:
    rows = tickets(200) + tickets(200, start=200, shift=1)
    choice = chosen(builder, rows, 200.0)
    assert [row.at for row in choice.rows] == [float(n) for n in range(200, 400)]


def test_old_rows_help_when_they_still_hold(builder: VersionBuilder) -> None:
    """Ten new rows alone teach less than two hundred old ones beside them."""
    rows = tickets(240)
    assert len(chosen(builder, rows, 210.0).rows) == 240


def test_the_rehearsal_is_an_exam_of_fresh_rows_only(builder: VersionBuilder) -> None:
    choice = chosen(builder, tickets(200) + tickets(200, start=200), 200.0)
    assert choice.validation is not None
    assert 30 <= len(choice.validation.scores) <= 70


def test_no_row_is_in_the_lessons_and_the_exam_of_a_rehearsal(
    registry: Registry, encoder: ToyEncoder, tmp_path: Path
) -> None:
    asked: list[tuple[set[str], set[str]]] = []

    class Spy:
        name = runtime = "spy"
        is_general = False
        growth = 1.0

        def can_learn(self, rows: TrainingSet) -> bool:
            return True

        def validate(self, lessons: TrainingSet, exam: TrainingSet, workspace: Workspace) -> EvalResult:
            asked.append((set(lessons.texts), set(exam.texts)))
            return EvalResult([0.5] * len(exam.texts), [0.0] * len(exam.texts))

        def train(self, lessons: TrainingSet, folder: Path, workspace: Workspace) -> Report:
            raise TrainingError("not asked for")

    builder = VersionBuilder(
        recipes=[Spy()],
        registry=registry,
        open_runtime=lambda _, __: Always(),
        resources=resources_of(encoder),
        workspaces=tmp_path,
        config=Config(),
    )
    chosen(builder, tickets(100), 50.0)

    assert len(asked) == 2
    assert not any(lessons & exam for lessons, exam in asked)


def test_what_is_published_says_where_it_comes_from(builder: VersionBuilder, registry: Registry) -> None:
    rows = tickets(100)
    specialist = builder.publish(
        builder.manifest("task-1", HEAD, {"training": 100.0}), Choice(rows=rows, recipe=HEAD)
    )

    manifest, _ = registry.verify("task-1", 1)
    assert (manifest.recipe, manifest.runtime, manifest.seed, manifest.parent) == ("head", "head", 0, None)
    assert (manifest.rows, manifest.answers, manifest.metrics) == (100, 3, {"training": 100.0})
    assert drafted(specialist, rows[0].text).text == rows[0].answer
    assert builder.manifest("task-1", HEAD, {}).version == 2


def test_a_version_number_is_never_used_twice(builder: VersionBuilder) -> None:
    draft = builder.manifest("task-1", HEAD, {})
    builder.publish(draft, Choice(rows=tickets(100), recipe=HEAD))
    with pytest.raises(RegistryError):
        builder.publish(draft, Choice(rows=tickets(100), recipe=HEAD))


def test_enough_evidence_is_certified_and_the_attempt_counted(
    builder: VersionBuilder, shadow: Standing
) -> None:
    result = examined(builder, evidence(200), [shadow])["fingerprint"]
    assert (result.serves, result.version, result.attempts) == (True, 5, 1)


def test_no_attempt_is_spent_where_it_would_probably_fail(builder: VersionBuilder, shadow: Standing) -> None:
    for rows, validation in (
        (evidence(40), EvalResult([0.9] * 1000, [0.0] * 1000)),
        (evidence(200), EvalResult([0.9] * 1000, [0.0, 1.0] * 500)),
    ):
        result = examined(builder, rows, [shadow], validation)["fingerprint"]
        assert (result.serves, result.attempts, result.version) == (False, 0, 5)


def test_a_shadow_asks_for_what_the_next_attempt_will_ask(builder: VersionBuilder, shadow: Standing) -> None:
    """As many audits as are said to be missing are enough for the attempt to be made."""
    missing = examined(builder, evidence(40), [shadow])["fingerprint"].audits_missing

    assert missing is not None
    assert examined(builder, evidence(40 + missing), [shadow])["fingerprint"].attempts == 1


def test_a_specialist_which_errs_too_often_is_said_to_need_lessons(
    builder: VersionBuilder, shadow: Standing
) -> None:
    poor = EvalResult([0.9] * 1000, [0.0, 1.0] * 500)
    result = examined(builder, evidence(40), [shadow], poor)["fingerprint"]
    assert "needs more lessons" in result.note
    assert result.audits_missing is not None


def test_whether_to_attempt_never_depends_on_what_the_evidence_says(
    builder: VersionBuilder, shadow: Standing
) -> None:
    """Else the certificate would be conditioned on its own evidence."""
    agreeing = evidence(200)
    disagreeing = [msgspec.structs.replace(row, answer="no") for row in agreeing]
    attempts = [examined(builder, rows, [shadow])["fingerprint"].attempts for rows in (agreeing, disagreeing)]
    assert attempts == [1, 1]


def test_each_attempt_has_less_delta_than_the_last(builder: VersionBuilder, shadow: Standing) -> None:
    """What the first attempt certifies, the ninth does not: 6 / (pi^2 81) of delta is left for it."""
    tired = msgspec.structs.replace(shadow, attempts=8)
    outcomes = [examined(builder, evidence(130), [old])["fingerprint"] for old in (shadow, tired)]
    assert [outcome.serves for outcome in outcomes] == [True, False]


def test_lanes_share_delta_and_their_own_evidence_decides(builder: VersionBuilder, shadow: Standing) -> None:
    other = msgspec.structs.replace(shadow, lane="embedding")
    results = examined(builder, evidence(200) + evidence(20, "embedding"), [shadow, other])
    assert (results["fingerprint"].serves, results["embedding"].serves) == (True, False)
    assert (results["fingerprint"].attempts, results["embedding"].attempts) == (1, 0)


def test_evidence_from_before_the_alarm_does_not_count(builder: VersionBuilder, shadow: Standing) -> None:
    alarm = msgspec.structs.replace(shadow, stage="alarm", epoch=1, valid_from=190.0)
    result = examined(builder, evidence(200), [alarm])["fingerprint"]
    assert (result.serves, result.audits) == (False, 10)


class Told:
    """A recipe which does as well as it was told, or cannot be used."""

    runtime = "head"
    growth = 1.0

    def __init__(self, name: str, right: float | None, *, is_general: bool = False) -> None:
        self.name = name
        self.right = right
        self.is_general = is_general
        self.validations = 0

    def can_learn(self, rows: TrainingSet) -> bool:
        return True

    def validate(self, lessons: TrainingSet, exam: TrainingSet, workspace: Workspace) -> EvalResult:
        self.validations += 1
        if self.right is None:
            raise TrainingError("its extra is missing")
        right = int(self.right * len(exam.texts))
        wrong = len(exam.texts) - right
        return EvalResult([0.9] * right + [0.1] * wrong, [0.0] * right + [1.0] * wrong)

    def train(self, lessons: TrainingSet, folder: Path, workspace: Workspace) -> Report:
        raise TrainingError("not asked for")


@pytest.mark.parametrize(
    ("right", "rows", "taken", "slow_rehearsals"),
    [
        ((0.95, 0.99), 2_000, "quick", 0),
        ((0.5, 0.9), 2_000, "slow", 1),
        ((0.5, 0.4), 2_000, "quick", 1),
        ((0.5, 0.9), 300, "quick", 0),
        ((0.5, None), 2_000, "quick", 1),
        ((None, 0.9), 300, "slow", 1),
    ],
)
def test_a_slower_recipe_is_tried_where_the_quick_one_leaves_much_to_the_teacher(
    build: Build,
    right: tuple[float | None, float | None],
    rows: int,
    taken: str,
    slow_rehearsals: int,
) -> None:
    """And enough has been harvested for it; a missing extra costs nothing."""
    first, second = Told("quick", right[0]), Told("slow", right[1])

    choice = chosen(build(first, second), tickets(rows, held_out_share=0.0), 0.0)

    assert choice.recipe.name == taken
    assert second.validations == slow_rehearsals


def test_a_general_recipe_is_tried_only_where_no_other_can_learn(build: Build) -> None:
    narrow, general = Told("narrow", 0.5), Told("general", 0.99, is_general=True)

    assert chosen(build(general, narrow), tickets(2_000), 0.0).recipe.name == "narrow"
    assert general.validations == 0

    assert chosen(build(HEAD, general), essays(2_000), 0.0).recipe.name == "general"


def test_answers_that_no_recipe_can_learn_are_refused(builder: VersionBuilder) -> None:
    with pytest.raises(TrainingError, match="no recipe can learn answers like these; asked: head"):
        chosen(builder, essays(100), 0.0)
