from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from gateway.core import Deferral, DraftRequest, RiskTarget
from gateway.distill.base import Config, EvalResult, Report, TrainingSet, Workspace
from gateway.distill.choice import Choice
from gateway.distill.lesson_owners import has_lesson_of
from gateway.distill.recipes import head as recipe
from gateway.distill.version_builder import VersionBuilder
from gateway.errors import RegistryError, TrainingError
from gateway.harvest.base import Row
from gateway.harvest.removal import Selection
from gateway.registry.models import Registry
from gateway.specialists.base import Listener, Prediction
from gateway.specialists.learnt import read_learnt_texts
from gateway.specialists.runtimes.head import runtime
from tests.distill.conftest import ToyEncoder, harvested, tickets
from tests.specialists.hosting import drafted, resources_of

HEAD = recipe.create(recipe.Config())
VALIDATION = EvalResult([0.9, 0.4], [0.0, 1.0])
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
    return builder.choose("task-1", rows, [RiskTarget(0.05)], valid_from)


def essays(count: int) -> list[Row]:
    return [harvested(f"question {n}", f"essay {n}", at=n) for n in range(count)]


class Always:
    """A specialist which is sure of one answer."""

    is_remote = False

    def draft(self, draft_request: DraftRequest, listener: Listener) -> Prediction:
        return Prediction(text="yes", score=0.99)

    def close(self) -> None:
        pass


class GoingOn:
    """A recipe whose students may go on from the weights of the version before."""

    runtime = "head"
    learns = "any answer"
    is_general = False
    growth = 1.0

    def __init__(self, *, has_parent: bool, name: str = "going_on") -> None:
        self.name = name
        self._has_parent = has_parent

    def can_learn(self, rows: TrainingSet) -> bool:
        return True

    def validate(self, lessons: TrainingSet, exam: TrainingSet, workspace: Workspace) -> EvalResult:
        return VALIDATION

    def train(self, lessons: TrainingSet, folder: Path, workspace: Workspace) -> Report:
        (folder / "weights").write_bytes(b"weights")
        return Report(rows=len(lessons.texts), answers=2, has_parent=self._has_parent)


def publish_by(builder: VersionBuilder, made_by: GoingOn, rows: Sequence[Row]) -> None:
    choice = Choice(rows=rows, recipe=made_by, validation=VALIDATION)
    builder.publish(builder.manifest("task-1", made_by, {}), choice)


@pytest.mark.parametrize("has_parent", [True, False])
def test_what_the_weights_learnt_in_earlier_versions_is_learnt(
    build: Build, registry: Registry, *, has_parent: bool
) -> None:
    """Else a text that has left the lessons would count as new, and vouch for new ones."""
    going_on, other = GoingOn(has_parent=has_parent), GoingOn(has_parent=False, name="other")
    builder = build(going_on, other)
    publish_by(builder, going_on, [harvested("an old text", "yes", at=0)])
    publish_by(builder, other, [harvested("another text", "yes", at=1)])
    publish_by(builder, going_on, [harvested("a young text", "no", at=2)])

    learnt = read_learnt_texts(registry.folder("task-1", 3))

    assert "a young text" in learnt
    assert ("an old text" in learnt) is has_parent
    assert "another text" not in learnt


@pytest.mark.parametrize("has_parent", [True, False])
def test_a_version_knows_whose_requests_its_weights_have_learnt(
    build: Build, registry: Registry, *, has_parent: bool
) -> None:
    """Else who asks to be forgotten stays in it, once the retention has removed the row."""
    going_on = GoingOn(has_parent=has_parent)
    for user in ("jane", "joe"):
        row = msgspec.structs.replace(harvested(f"what {user} asks", "yes"), user=user)
        publish_by(build(going_on), going_on, [row])

    folder = registry.folder("task-1", 2)

    assert has_lesson_of(folder, Selection(user="joe"))
    assert has_lesson_of(folder, Selection(user="jane")) is has_parent
    assert not has_lesson_of(folder, Selection(user="jim"))


def test_a_request_that_was_asked_again_is_that_of_whoever_asked_first(
    build: Build, registry: Registry
) -> None:
    again = msgspec.structs.replace(harvested("a text", "yes"), request_id="req-1+0a1b2c3d")
    publish_by(build(GoingOn(has_parent=False)), GoingOn(has_parent=False), [again])

    assert has_lesson_of(registry.folder("task-1", 1), Selection(request_id="req-1"))


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
        learns = "any answer"
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
    builder.publish(
        builder.manifest("task-1", HEAD, {"training": 100.0}),
        Choice(rows=rows, recipe=HEAD, validation=VALIDATION, deferral=Deferral(0.5, {"validity": 1.0})),
    )

    manifest, _ = registry.verify("task-1", 1)
    assert (manifest.recipe, manifest.runtime, manifest.seed, manifest.parent) == ("head", "head", 0, None)
    assert (manifest.rows, manifest.answers, manifest.metrics) == (100, 3, {"training": 100.0})
    with builder.open_version("task-1", 1) as candidate:
        assert drafted(candidate.runtime, rows[0].text).text == rows[0].answer
    assert builder.manifest("task-1", HEAD, {}).version == 2
    assert builder.manifest("task-1", HEAD, {}, after=7).version == 8, "what was judged keeps its number"


def test_a_version_number_is_never_used_twice(builder: VersionBuilder) -> None:
    draft = builder.manifest("task-1", HEAD, {})
    builder.publish(draft, Choice(rows=tickets(100), recipe=HEAD, validation=VALIDATION))
    with pytest.raises(RegistryError):
        builder.publish(draft, Choice(rows=tickets(100), recipe=HEAD, validation=VALIDATION))


def test_a_version_that_another_machine_certified_is_not_judged_by_its_number(
    builder: VersionBuilder, registry: Registry
) -> None:
    draft = builder.manifest("task-1", HEAD, {})
    builder.publish(draft, Choice(rows=tickets(100), recipe=HEAD, validation=VALIDATION))

    with builder.open_version("task-1", 1, registry.digest("task-1", 1)) as candidate:
        assert candidate.version == 1
    with (
        pytest.raises(RegistryError, match="not the one that another certified"),
        builder.open_version("task-1", 1, "0" * 64),
    ):
        pass


def test_a_version_keeps_what_a_later_judgment_needs(builder: VersionBuilder) -> None:
    """The texts that it has learnt, how it was validated, and its deferral head."""
    rows, head = tickets(100), Deferral(0.5, {"validity": 1.0})
    choice = Choice(rows=rows, recipe=HEAD, validation=VALIDATION, deferral=head)
    builder.publish(builder.manifest("task-1", HEAD, {}), choice)

    with builder.open_version("task-1", 1) as candidate:
        assert all(row.text in candidate.learnt for row in rows)
        assert "never seen" not in candidate.learnt
        assert (candidate.deferral, candidate.validation) == (head, VALIDATION)


def test_a_successor_is_validated_on_what_came_before_a_version_served(build: Build) -> None:
    """Later rows are those that it left to the teacher, the hard ones: they are all lessons."""
    told = Told("quick", 0.9)
    rows = tickets(1_000, held_out_share=0.0)

    build(told).choose("task-1", rows, [RiskTarget(0.05)], 0.0, served_from=600.0)
    build(told).choose("task-1", rows, [RiskTarget(0.05)], 0.0, served_from=100.0)

    before, fallback = ({int(text.split()[-1]) for text in exam.texts} for exam in told.exams)
    assert (max(before) < 600, max(fallback) > 600) == (True, True)
    assert 110 <= len(before) <= 190


def test_a_kept_recipe_is_expected_to_do_as_its_last_version(build: Build) -> None:
    """If it is slow; a quick one is validated again."""
    slow = Told("slow", 0.9, growth=1.6)
    builder = build(HEAD, slow)
    choice = Choice(rows=tickets(100), recipe=HEAD, validation=VALIDATION)
    builder.publish(builder.manifest("task-1", HEAD, {}), choice)

    kept = builder.keep_recipe("task-1", "slow", tickets(200))

    assert kept is not None
    assert (len(kept.rows), kept.validation) == (200, VALIDATION)
    assert builder.keep_recipe("task-1", "head", tickets(200)) is None
    assert builder.keep_recipe("task-1", "gone", []) is None


class Told:
    """A recipe which does as well as it was told, or cannot be used."""

    runtime = "head"
    learns = "any answer"

    def __init__(
        self, name: str, right: float | None, *, is_general: bool = False, growth: float = 1.0
    ) -> None:
        self.name = name
        self.growth = growth
        self.right = right
        self.is_general = is_general
        self.exams: list[TrainingSet] = []

    def can_learn(self, rows: TrainingSet) -> bool:
        return True

    def validate(self, lessons: TrainingSet, exam: TrainingSet, workspace: Workspace) -> EvalResult:
        self.exams.append(exam)
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
    assert len(second.exams) == slow_rehearsals


def test_a_general_recipe_is_tried_only_where_no_other_can_learn(build: Build) -> None:
    narrow, general = Told("narrow", 0.5), Told("general", 0.99, is_general=True)

    assert chosen(build(general, narrow), tickets(2_000), 0.0).recipe.name == "narrow"
    assert general.exams == []

    assert chosen(build(HEAD, general), essays(2_000), 0.0).recipe.name == "general"


def test_answers_that_no_recipe_can_learn_are_refused(builder: VersionBuilder) -> None:
    with pytest.raises(
        TrainingError, match=r"answers like these: head learns labels: few answers that repeat$"
    ):
        chosen(builder, essays(100), 0.0)


class Fastidious(GoingOn):
    """Learns answers of one word, and nothing that holds any other."""

    def __init__(self) -> None:
        super().__init__(has_parent=False, name="fastidious")

    def can_learn(self, rows: TrainingSet) -> bool:
        return all(" " not in answer for answer in rows.answers)

    def validate(self, lessons: TrainingSet, exam: TrainingSet, workspace: Workspace) -> EvalResult:
        if not self.can_learn(lessons):
            raise TrainingError("answers of several words")
        return VALIDATION


def test_answers_of_another_form_are_learnt_without_the_old_ones(build: Build) -> None:
    """After an alarm: the teacher writes labels now, and what it wrote before cannot be learnt."""
    later = [harvested(f"later {n}", "yes", at=1_000 + n) for n in range(100)]

    choice = chosen(build(Fastidious()), [*essays(400), *later], valid_from=1_000)

    assert choice.rows == later


def test_what_neither_all_nor_the_later_rows_teach_is_refused(build: Build) -> None:
    with pytest.raises(TrainingError, match="no recipe can learn"):
        chosen(build(Fastidious()), essays(400), valid_from=200)
