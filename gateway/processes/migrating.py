"""The move of a task to another model: its requests are asked again, compared, and become lessons there.

The task of the new model is another one, by its template. Re-asked rows teach it as imported ones do: its
specialist drafts in shadow, and serves once live audits against the new teacher have confirmed it.
What the new teacher was asked before, then or by live requests, is not asked and paid for again. Answers that
nothing can be learnt from leave a row, too, that is no lesson: they are known by it, and forgotten with it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b

import msgspec

from gateway.confidence.agreement import measure_loss
from gateway.confidence.binomial import binomial_interval
from gateway.core import Grant
from gateway.errors import ConfigError
from gateway.harvest.base import REPEATS, Row
from gateway.harvest.retention import Retention, find_expiry
from gateway.harvest.sources import Record
from gateway.policy.load import load_policies
from gateway.processes.asking_again import AnsweredRow, TeacherAsking
from gateway.processes.harvest_access import open_harvest
from gateway.processes.importing import Report, import_records
from gateway.processes.pruning import read_retention
from gateway.processes.rebuilding import can_be_rebuilt, rebuild_request
from gateway.processes.record_binder import Owner, RecordBinder
from gateway.settings import Settings
from gateway.store.state import open_state

LEARNT_AT_ONCE = 100
"""Answers: so many at most are paid for and lost if the process is killed."""


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked again, and how the new model answered."""

    task: str
    model: str
    texts: int
    """Different texts of the lessons; `barred`, `asked`, `known`, `failed` and `left` are the sample."""
    barred: int
    """Not asked, because nothing could be learnt from the answers."""
    barred_by: str
    """Why not the first of those; empty without any."""
    asked: int
    """Answered now."""
    known: int
    """Answered before: not asked again."""
    left: int
    """Not asked, because the budget did not reach so far."""
    agreed: int
    """Answers, of those asked and known, that equal the old teacher's."""
    unlearnt: int
    """Answers, of those asked and known, that teach nothing: refused, cut, or with private data."""
    agreement: float
    interval: tuple[float, float]
    """Of 95 %."""
    failed: int
    fault: str
    """Why the first of those failed; empty without any."""
    usd: float
    imported: int
    tasks: dict[str, int]
    """The rows by task of the new model."""


def migrate_task(
    settings: Settings,
    task: str,
    model: str,
    budget_usd: float,
    most: int,
    *,
    is_again: bool = False,
    say: Callable[[int], object] = lambda _: None,
) -> Migration:
    """Ask `model` what a random sample of the lessons of `task` asked, within the budget; learn the answers.

    The sample is the same at every call, and what `model` has answered of it is compared but not asked;
    with `is_again` it is asked anew where its answer teaches nothing.
    `say` is told now and then how many were answered. Raises ConfigError without lessons, if `model` is the
    one that they asked, or without a key of the gateway's own to ask with.
    """
    if not settings.teachers and settings.upstream.api_key is None:
        raise ConfigError("the gateway has no key of its own to ask the teacher with: set OPENAI_API_KEY")
    texts = _list_texts(settings, task, model)
    sample = texts[:most]
    owners = _list_owners(settings, sample)
    before = _find_answers(settings, sample, model, owners)
    known = {name: text for name, text in before.answers.items() if not (is_again and text is None)}
    asking = TeacherAsking(settings, model, budget_usd)
    asked = 0
    tasks: Counter[str] = Counter()
    waiting = [row for row in sample if row.request_id not in known | before.barred]
    # Learnt bit by bit: what was paid for stays, should the calls after it be interrupted.
    for start in range(0, len(waiting), LEARNT_AT_ONCE):
        found = asyncio.run(asking.ask_all(waiting[start : start + LEARNT_AT_ONCE], before.teachers))
        for report in _learn(settings, found, model, owners):
            tasks.update(report.tasks)
        asked += len(found)
        say(asked)
        if asking.is_spent:
            break
    answers = _find_answers(settings, sample, model, owners).answers if asked else before.answers
    given = [(row.answer, answers[row.request_id]) for row in sample if row.request_id in answers]
    agreed = sum(new is not None and measure_loss(old, new) == 0.0 for old, new in given)
    return Migration(
        task=task,
        model=model,
        texts=len(texts),
        barred=len(before.barred),
        barred_by=next(iter(before.barred.values()), ""),
        asked=asked,
        known=len(known),
        left=len(waiting) - asked - asking.failed,
        agreed=agreed,
        unlearnt=sum(new is None for _, new in given),
        agreement=agreed / len(given) if given else 0.0,
        interval=binomial_interval(agreed, len(given)) if given else (0.0, 1.0),
        failed=asking.failed,
        fault=asking.fault,
        usd=asking.usd,
        imported=tasks.total(),
        tasks=dict(tasks),
    )


def _list_texts(settings: Settings, task: str, model: str) -> list[Row]:
    """Return the lessons of `task` that `model` can be asked, of distinct texts, in a random order."""
    lessons = _draw(open_harvest(settings).rows(task, lessons_only=True).rows)
    if not lessons:
        raise ConfigError(f"no lessons of {task} in the harvest")
    texts = [row for row in lessons if can_be_rebuilt(row)]
    if not texts:
        raise ConfigError(
            f"the requests of {task} cannot be asked as the app would: a policy had private data replaced in "
            "what they repeat, or they have tools of the Responses API in a spelling that no client writes"
        )
    if model in {row.model for row in texts}:
        raise ConfigError(f"the requests of {task} ask {model} already")
    return texts


def _draw(rows: Sequence[Row]) -> list[Row]:
    """Return the lessons with distinct texts in a random order; evidence is never among them."""
    lessons = {row.text: row for row in rows if not row.is_held_out and row.messages}

    def draw(row: Row) -> bytes:
        return blake2b(row.request_id.encode(), digest_size=8, person=b"migrate").digest()

    return sorted(lessons.values(), key=draw)


def _list_owners(settings: Settings, rows: Sequence[Row]) -> dict[str, Owner]:
    """Return whose requests `rows` are, by their ids, with what a key of the gateway may."""
    with open_state(settings.home) as state:
        grants = {key.name: key.grant for key in state.keys.all()}
    return {
        row.request_id: Owner(caller=row.caller, tenant=row.tenant, grant=grants.get(row.caller, Grant()))
        for row in rows
    }


class _Findings(msgspec.Struct, frozen=True):
    """What is known of rows, by their ids."""

    answers: dict[str, str | None]
    """What the new model has answered; None for an answer that teaches nothing."""
    barred: dict[str, str]
    """Why nothing could be learnt from any answer."""
    teachers: dict[str, tuple[str, ...]]
    """Those of the policy that the app's request would meet."""


class _Answered(msgspec.Struct, frozen=True):
    """What the rows of a task tell of answers: those to texts, and the ids of rows asked again in vain."""

    by_text: dict[str, str]
    in_vain: frozenset[str]


def _find_answers(
    settings: Settings, rows: Sequence[Row], model: str, owners: Mapping[str, Owner]
) -> _Findings:
    """Return what `model` has answered to the requests of `rows`, as the harvest has it.

    Evidence counts, too: to ask again would make a lesson of it.
    """
    binders: dict[Owner, RecordBinder] = {}
    tasks: dict[str, _Answered] = {}
    before = _Findings({}, {}, {})
    for row in rows:
        owner = owners[row.request_id]
        if owner not in binders:
            binders[owner] = RecordBinder(settings, owner, {}, b"")
        bound = binders[owner].find_task(rebuild_request(row, model))
        task = bound.task
        before.teachers[row.request_id] = bound.teachers
        if task not in tasks:
            tasks[task] = _read_answered(open_harvest(settings).rows(task, with_messages=False).rows)
        if row.text in tasks[task].by_text:
            before.answers[row.request_id] = tasks[task].by_text[row.text]
        elif row.request_id in tasks[task].in_vain:
            before.answers[row.request_id] = None
        elif bound.refusal:
            before.barred[row.request_id] = bound.refusal
    return before


def _read_answered(rows: Sequence[Row]) -> _Answered:
    in_vain = (row.request_id for row in rows if not row.is_lesson and REPEATS in row.request_id)
    return _Answered(
        by_text={row.text: row.answer for row in rows if row.is_lesson and row.ending == "whole"},
        in_vain=frozenset(name.partition(REPEATS)[0] for name in in_vain),
    )


def _learn(
    settings: Settings, answered: Sequence[AnsweredRow], model: str, owners: Mapping[str, Owner]
) -> list[Report]:
    """Import the answers as lessons, each for the caller whose request it was."""
    records: dict[Owner, list[Record]] = {}
    retention = read_retention(settings.harvest, load_policies(settings.policies.folder))
    for number, one in enumerate(answered):
        record = Record(
            file=f"migration to {model}",
            number=number,
            conversation=one.conversation,
            repeats=_limit_time(one.row, retention),
        )
        records.setdefault(owners[one.row.request_id], []).append(record)
    return [import_records(theirs, settings, owner, {}) for owner, theirs in records.items()]


def _limit_time(row: Row, retention: Retention) -> Row:
    """Return `row` with the time when it goes by the rules of now: what repeats it goes no later."""
    ends = [row.expires_at, find_expiry(row.at, retention.keep_days, retention.by_policy.get(row.policy))]
    return msgspec.structs.replace(
        row, expires_at=min((end for end in ends if end is not None), default=None)
    )
