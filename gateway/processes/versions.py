"""Versions by hand: train, promote, roll back, pin and compare; each leaves who and why in the trail."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from gateway.confidence.agreement import measure_loss
from gateway.confidence.deferral import Scorer
from gateway.core import Demands, Draft
from gateway.distill.base import Event
from gateway.distill.evaluation import draft_answers
from gateway.distill.prospects import Candidate
from gateway.distill.task_rows import TaskRows
from gateway.errors import ConfigError, StepdownError
from gateway.harvest.base import Row
from gateway.processes.building import create_builder
from gateway.processes.harvest_access import open_harvest
from gateway.processes.learner import create_learner, describe_event, learn_once, lock_learner
from gateway.processes.registry_access import list_lost_versions, open_registry
from gateway.settings import Settings
from gateway.store.state import State
from gateway.store.task_lookup import find_task

MOST_COMPARED = 500
"""Texts that two versions are compared on: a decoder drafts ten per second."""
MOST_EXAMPLES = 20


class Order(msgspec.Struct, frozen=True):
    """Who wants a change and why; both stand in the audit trail before it is begun."""

    actor: str
    reason: str


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of two versions that are compared."""

    version: int
    recipe: str
    rows: int
    """Lessons."""
    draft_ms: float
    """The mean time of a draft, here, now and alone."""
    coverage: float | None
    """Share of the texts that the task's certificate for new texts would let pass; None without one."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A text that the two versions answer in two ways; an empty answer is a refusal."""

    text: str
    first: str
    second: str


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two versions on the latest texts held out as evidence, by what they say to them.

    Not by who of them is right: a version that was chosen by that could no longer be tested on it.
    """

    task: str
    texts: int
    agreement: float
    first: Side
    second: Side
    differences: list[Difference]


def resolve_task(state: State, settings: Settings, wanted: str) -> str:
    """Return the id of a task with that id or name that has rows or versions. Raises ConfigError."""
    rows = open_harvest(settings).counts()
    return find_task(state, wanted, [*rows, *open_registry(settings).tasks()])


def find_drafting(state: State, task: str) -> int | None:
    """Return the version that drafts now; the learner writes through a store of its own."""
    state.certifications.refresh()
    return state.certifications.of(task).version


def train_now(settings: Settings, state: State, task: str, order: Order, recipe: str = "") -> list[Event]:
    """Make and judge the next version of `task`, grown or not, by `recipe` if given; may take minutes.

    Raises ConfigError if it is pinned, since a pin says that no other version is to be made, or for an
    unknown recipe.
    """
    if recipe:
        learn = msgspec.structs.replace(settings.learn, recipes=(recipe,))
        settings = msgspec.structs.replace(settings, learn=learn)
    if (version := find_drafting(state, task)) and state.pins.is_pinned(task):
        name = state.tasks.names.of(task)
        raise ConfigError(
            f"{name} is pinned to version {version}: `stepdown models unpin {name} --reason WHY` ends that"
        )
    learner = create_learner(settings, state, by_hand=task)
    asked = {"recipe": recipe} if recipe else {}
    state.trail.add(order.actor, "learn run", task, reason=order.reason, **asked)
    events = learn_once(settings, learner, lambda: learner.train(task))
    state.trail.add(order.actor, "learn run", task, result=_describe(events))
    return events


def promote(settings: Settings, state: State, task: str, version: int, order: Order) -> list[Event]:
    """Let `version` draft in place of the one that does, if today's evidence allows it.

    Raises ConfigError for an unknown version, RegistryError for one that is damaged or takes more than
    every policy allows.
    """
    _require_version(settings, state, task, version)
    return _let_draft(settings, state, task, version, action="models promote", order=order)


def rollback(settings: Settings, state: State, task: str, order: Order) -> list[Event]:
    """Let the version before the one that drafts draft again.

    Raises ConfigError if there is none, and as `promote`.
    """
    drafting = find_drafting(state, task)
    older = [one for one in open_registry(settings).versions(task) if one < (drafting or 0)]
    if not older:
        name = state.tasks.names.of(task)
        raise ConfigError(f"{name}: no version before {drafting or 'the first'} is left")
    return _let_draft(settings, state, task, older[-1], action="models rollback", order=order)


def pin(settings: Settings, state: State, task: str, order: Order, *, is_pinned: bool) -> None:
    """Keep the version that drafts until it is unpinned; its certificates are renewed or lapse as ever.

    Raises ConfigError if none drafts, or its files are gone.
    """
    version, name = find_drafting(state, task), state.tasks.names.of(task)
    if version is None and is_pinned:
        raise ConfigError(f"{name} has no specialist yet")
    if is_pinned and (task, version) in list_lost_versions(settings, state):
        raise ConfigError(f"{name}: the files of version {version} are gone: see `stepdown models verify`")
    action, change = ("models pin", state.pins.pin) if is_pinned else ("models unpin", state.pins.unpin)
    with state.trail.transaction():
        state.trail.add(order.actor, action, task, version=version, reason=order.reason)
        change(task)


def compare(settings: Settings, state: State, task: str, versions: tuple[int, int]) -> Comparison:
    """Return how two versions differ; may take a minute. Raises ConfigError or RegistryError."""
    for version in versions:
        _require_version(settings, state, task, version)
    rows = _list_texts(settings, state, task)
    sides: list[Side] = []
    answers: list[list[Draft | None]] = []
    for version in versions:
        # An encoder of its own: the second version would find the vectors of the first.
        with create_builder(settings).open_version(task, version) as candidate:
            side, drafts = _describe_side(settings, state, task, candidate, rows)
        sides.append(side)
        answers.append(drafts)
    said = [[draft.text if draft else "" for draft in drafts] for drafts in answers]
    differences = [
        Difference(text=row.text, first=first, second=second)
        for row, first, second in zip(rows, *said, strict=True)
        if measure_loss(first, second)
    ]
    return Comparison(
        task=task,
        texts=len(rows),
        agreement=1 - len(differences) / max(1, len(rows)),
        first=sides[0],
        second=sides[1],
        differences=differences[:MOST_EXAMPLES],
    )


def _let_draft(
    settings: Settings, state: State, task: str, version: int, *, action: str, order: Order
) -> list[Event]:
    state.trail.add(order.actor, action, task, version=version, reason=order.reason)
    learner = create_learner(settings, state, by_hand=task)
    try:
        with lock_learner(settings.home):
            events = [learner.promote(task, version)]
    except StepdownError as exc:
        state.trail.add(order.actor, action, task, version=version, result=str(exc))
        raise
    state.trail.add(order.actor, action, task, version=version, result=_describe(events))
    return events


def _list_texts(settings: Settings, state: State, task: str) -> list[Row]:
    rows = TaskRows(task, settings.learn.max_rows, state.templates)
    rows.read(open_harvest(settings))
    found = rows.evidence()[-MOST_COMPARED:]
    if not found:
        name = state.tasks.names.of(task)
        raise ConfigError(f"{name}: nothing is held out yet that versions could be compared on")
    return found


def _describe_side(
    settings: Settings, state: State, task: str, candidate: Candidate, rows: Sequence[Row]
) -> tuple[Side, list[Draft | None]]:
    began = time.perf_counter()
    drafts = draft_answers(candidate.runtime, [(row.text, Demands()) for row in rows])
    draft_ms = (time.perf_counter() - began) * 1000 / len(rows)
    manifest = open_registry(settings).read(task, candidate.version)
    scorer, coverage = Scorer(), None
    scores = [scorer.score_draft(draft, candidate.deferral) for draft in drafts if draft]
    live = [
        each.threshold
        for each in state.certifications.of(task).certificates
        if each.stratum == "new" and each.is_in_force(time.time()) and each.threshold is not None
    ]
    if live:
        coverage = sum(score >= min(live) for score in scores) / len(rows)
    side = Side(
        version=candidate.version,
        recipe=manifest.recipe,
        rows=manifest.rows,
        draft_ms=draft_ms,
        coverage=coverage,
    )
    return side, drafts


def _require_version(settings: Settings, state: State, task: str, version: int) -> None:
    known = open_registry(settings).versions(task)
    if version not in known:
        listed = ", ".join(map(str, known)) or "none yet"
        raise ConfigError(f"{state.tasks.names.of(task)} has no version {version}; known: {listed}")


def _describe(events: Sequence[Event]) -> str:
    return "; ".join(describe_event(event) for event in events) or "nothing was done"
