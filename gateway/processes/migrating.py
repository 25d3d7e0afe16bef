"""The move of a task to another model: its requests are asked again, compared, and become lessons there.

The task of the new model is another one, by its template. Re-asked rows teach it as imported ones do: its
specialist drafts in shadow, and serves once live audits against the new teacher have confirmed it.
What the new teacher was asked before, then or by live requests, is not asked and paid for again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from gateway.confidence.agreement import measure_loss
from gateway.confidence.binomial import binomial_interval
from gateway.core import Grant, Usage
from gateway.errors import ConfigError, UpstreamError
from gateway.finops.prices import PriceTable
from gateway.harvest.base import Row
from gateway.harvest.conversations import Conversation, RecordError, read_completion
from gateway.harvest.retention import Retention, find_expiry
from gateway.harvest.sources import Record
from gateway.policy.load import load_policies
from gateway.processes.harvest_access import open_harvest
from gateway.processes.importing import Owner, RecordBinder, Report, import_records
from gateway.processes.pruning import read_retention
from gateway.processes.teachers import combine_teachers, create_teachers
from gateway.settings import Settings
from gateway.store.state import open_state
from gateway.upstream.base import Call, Teacher
from gateway.wire.chat.reading import parse_answer

AT_ONCE = 4
"""Calls in flight."""
_TOKENS_OF_AN_ANSWER = 512
"""Expected where the old answer does not tell."""
_LONGEST_REASON = 200
_HEADERS = ((b"content-type", b"application/json"), (b"accept-encoding", b"identity"))


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked again, and how the new model answered."""

    task: str
    model: str
    texts: int
    """Different texts of the lessons, of which `asked`, `known`, `failed` and `left` are the sample."""
    asked: int
    """Answered now."""
    known: int
    """Answered before: not asked again."""
    left: int
    """Not asked, because the budget did not reach so far."""
    agreed: int
    """Answers, of those asked and known, that equal the old teacher's."""
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


class _Asked(msgspec.Struct, frozen=True):
    row: Row
    conversation: Conversation
    text: str | None
    """What the harvest would keep as the answer; None for one that nothing can be learnt from."""


def migrate_task(settings: Settings, task: str, model: str, budget_usd: float, most: int) -> Migration:
    """Ask `model` what a random sample of the lessons of `task` asked, within the budget; learn the answers.

    The sample is the same at every call, and what `model` has answered of it is compared but not asked.
    Raises ConfigError without lessons, if `model` is the one that they asked, or without a key of the
    gateway's own to ask with.
    """
    if not settings.teachers and settings.upstream.api_key is None:
        raise ConfigError("the gateway has no key of its own to ask the teacher with: set OPENAI_API_KEY")
    texts = _draw(open_harvest(settings).rows(task, lessons_only=True).rows)
    if not texts:
        raise ConfigError(f"no lessons of {task} in the harvest")
    if model in {row.model for row in texts}:
        raise ConfigError(f"the requests of {task} ask {model} already")
    sample = texts[:most]
    owners = _list_owners(settings, sample)
    before = _find_answers(settings, sample, model, owners)
    asking = _Asking(settings, model, budget_usd)
    answered = asyncio.run(asking.ask_all([row for row in sample if row.request_id not in before]))
    given = [(one.row, one.text) for one in answered]
    given += [(row, before[row.request_id]) for row in sample if row.request_id in before]
    agreed = sum(text is not None and measure_loss(row.answer, text) == 0.0 for row, text in given)
    reports = _learn(settings, answered, model, owners)
    tasks: dict[str, int] = {}
    for report in reports:
        tasks |= {name: tasks.get(name, 0) + count for name, count in report.tasks.items()}
    return Migration(
        task=task,
        model=model,
        texts=len(texts),
        asked=len(answered),
        known=len(before),
        left=len(sample) - len(given) - asking.failed,
        agreed=agreed,
        agreement=agreed / len(given) if given else 0.0,
        interval=binomial_interval(agreed, len(given)) if given else (0.0, 1.0),
        failed=asking.failed,
        fault=asking.fault,
        usd=asking.usd,
        imported=sum(report.imported for report in reports),
        tasks=tasks,
    )


class _Asking:
    """Calls of one model that together never cost more than expected beyond a budget."""

    def __init__(self, settings: Settings, model: str, budget_usd: float) -> None:
        self.failed = 0
        self.fault = ""
        self.usd = 0.0
        self._settings = settings
        self._model = model
        self._budget_usd = budget_usd
        self._reserved_usd = 0.0
        self._prices = PriceTable(settings.prices, settings.costs.unknown_price)

    async def ask_all(self, rows: Sequence[Row]) -> list[_Asked]:
        """Return the rows that were answered, in no order."""
        teachers = create_teachers(self._settings)
        teacher = combine_teachers(teachers, self._settings)
        waiting, answered = list(reversed(rows)), list[_Asked]()

        async def work() -> None:
            while waiting:
                row = waiting.pop()
                expected = self._expect_usd(row)
                if self.usd + self._reserved_usd + expected > self._budget_usd:
                    waiting.clear()
                    return
                self._reserved_usd += expected
                if found := await self._ask(teacher, row):
                    answered.append(found)
                self._reserved_usd -= expected

        try:
            await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        finally:
            await teacher.close()
        return answered

    async def _ask(self, teacher: Teacher, row: Row) -> _Asked | None:
        fields = _read_fields(row, self._model)
        call = Call(
            method="POST",
            target=b"/v1/chat/completions",
            headers=_HEADERS,
            body=msgspec.json.encode(fields),
            is_repeatable=True,
        )
        try:
            reply = await teacher.ask(call)
            content = b"".join([piece async for piece in reply.body])
            if reply.status != 200:
                raise RecordError(f"HTTP {reply.status} {_read_reason(content)}".rstrip())
            answer = msgspec.json.decode(content, type=dict[str, Any])
            self.usd += self._cost_of(answer)
            return _Asked(row, read_completion(fields, answer), parse_answer(content, False, True).text)
        except (UpstreamError, RecordError, msgspec.MsgspecError) as exc:
            self.failed += 1
            self.fault = self.fault or str(exc)
            return None

    def _expect_usd(self, row: Row) -> float:
        prompt = row.prompt_tokens or len(row.messages) // 3
        return self._price(Usage(prompt, row.completion_tokens or _TOKENS_OF_AN_ANSWER))

    def _cost_of(self, answer: Mapping[str, Any]) -> float:
        usage = answer.get("usage") or {}
        return self._price(Usage(int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0))))

    def _price(self, usage: Usage) -> float:
        return self._prices.find("", self._model, "", time.time()).prices.cost(usage)


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


def _find_answers(
    settings: Settings, rows: Sequence[Row], model: str, owners: Mapping[str, Owner]
) -> dict[str, str]:
    """Return what `model` has answered to the requests of `rows`, by these rows' ids, as the harvest has it.

    Evidence counts, too: to ask again would make a lesson of it.
    """
    binders: dict[Owner, RecordBinder] = {}
    tasks: dict[str, dict[str, str]] = {}
    found: dict[str, str] = {}
    for row in rows:
        owner = owners[row.request_id]
        if owner not in binders:
            binders[owner] = RecordBinder(settings, owner, {}, b"")
        task = binders[owner].name_task(Conversation(fields=_read_fields(row, model), answer={}))
        if task not in tasks:
            there = open_harvest(settings).rows(task, with_messages=False, lessons_only=True).rows
            tasks[task] = {one.text: one.answer for one in there if one.ending == "whole"}
        if row.text in tasks[task]:
            found[row.request_id] = tasks[task][row.text]
    return found


def _read_reason(content: bytes) -> str:
    """Return what an answer says of an error, in OpenAI's shape; empty if it says nothing."""
    try:
        return str(msgspec.json.decode(content)["error"]["message"])[:_LONGEST_REASON]
    except (msgspec.MsgspecError, LookupError, TypeError):
        return ""


def _read_fields(row: Row, model: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"model": model, "messages": msgspec.json.decode(row.messages)}
    for name, content in (("tools", row.tools), ("response_format", row.response_format)):
        if content:
            fields[name] = msgspec.json.decode(content)
    if row.tools and not row.may_call_in_parallel:
        fields["parallel_tool_calls"] = False
    return fields


def _learn(
    settings: Settings, answered: Sequence[_Asked], model: str, owners: Mapping[str, Owner]
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
