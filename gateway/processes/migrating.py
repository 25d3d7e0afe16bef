"""The move of a task to another model: its requests are asked again, compared, and become lessons there.

The task of the new model is another one, by its template. Re-asked rows teach it as imported ones do: its
specialist drafts in shadow, and serves once live audits against the new teacher have confirmed it.
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
from gateway.core import Usage
from gateway.errors import ConfigError, UpstreamError
from gateway.finops.prices import PriceTable
from gateway.harvest.base import Row
from gateway.harvest.conversations import Conversation, RecordError, read_completion
from gateway.harvest.sources import Record
from gateway.processes.harvest_access import open_harvest
from gateway.processes.importing import Owner, Report, import_records
from gateway.processes.teachers import combine_teachers, create_teachers
from gateway.settings import Settings
from gateway.upstream.base import Call, Teacher

AT_ONCE = 4
"""Calls in flight."""
_TOKENS_OF_AN_ANSWER = 512
"""Expected where the old answer does not tell."""
_HEADERS = ((b"content-type", b"application/json"), (b"accept-encoding", b"identity"))


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked again, and how the new model answered."""

    task: str
    model: str
    asked: int
    agreed: int
    """Answers that equal the old teacher's."""
    agreement: float
    interval: tuple[float, float]
    """Of 95 %."""
    failed: int
    usd: float
    imported: int
    tasks: dict[str, int]
    """The rows by task of the new model."""


class _Asked(msgspec.Struct, frozen=True):
    row: Row
    conversation: Conversation


def migrate_task(settings: Settings, task: str, model: str, budget_usd: float, most: int) -> Migration:
    """Ask `model` what a random sample of the lessons of `task` asked, within the budget; learn the answers.

    Raises ConfigError without lessons, or without a key of the gateway's own to ask with.
    """
    if not settings.teachers and settings.upstream.api_key is None:
        raise ConfigError("the gateway has no key of its own to ask the teacher with: set OPENAI_API_KEY")
    rows = _draw(open_harvest(settings).rows(task, lessons_only=True).rows, most)
    if not rows:
        raise ConfigError(f"no lessons of {task} in the harvest")
    asking = _Asking(settings, model, budget_usd)
    answered = asyncio.run(asking.ask_all(rows))
    agreed = sum(_agree(one) for one in answered)
    reports = list(_learn(settings, answered, model))
    tasks: dict[str, int] = {}
    for report in reports:
        tasks |= {name: tasks.get(name, 0) + count for name, count in report.tasks.items()}
    return Migration(
        task=task,
        model=model,
        asked=len(answered),
        agreed=agreed,
        agreement=agreed / len(answered) if answered else 0.0,
        interval=binomial_interval(agreed, len(answered)) if answered else (0.0, 1.0),
        failed=asking.failed,
        usd=asking.usd,
        imported=sum(report.imported for report in reports),
        tasks=tasks,
    )


class _Asking:
    """Calls of one model that together never cost more than expected beyond a budget."""

    def __init__(self, settings: Settings, model: str, budget_usd: float) -> None:
        self.failed = 0
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
            answer = msgspec.json.decode(content, type=dict[str, Any])
            if reply.status != 200:
                raise RecordError(f"HTTP {reply.status}")
            self.usd += self._cost_of(answer)
            return _Asked(row, read_completion(fields, answer))
        except (UpstreamError, RecordError, msgspec.MsgspecError):
            self.failed += 1
            return None

    def _expect_usd(self, row: Row) -> float:
        prompt = row.prompt_tokens or len(row.messages) // 3
        return self._price(Usage(prompt, row.completion_tokens or _TOKENS_OF_AN_ANSWER))

    def _cost_of(self, answer: Mapping[str, Any]) -> float:
        usage = answer.get("usage") or {}
        return self._price(Usage(int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0))))

    def _price(self, usage: Usage) -> float:
        return self._prices.find("", self._model, "", time.time()).prices.cost(usage)


def _draw(rows: Sequence[Row], most: int) -> list[Row]:
    """Return a random sample of the lessons with distinct texts; evidence is never among them."""
    lessons = {row.text: row for row in rows if not row.is_held_out and row.messages}

    def draw(row: Row) -> bytes:
        return blake2b(row.request_id.encode(), digest_size=8, person=b"migrate").digest()

    return sorted(lessons.values(), key=draw)[:most]


def _read_fields(row: Row, model: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"model": model, "messages": msgspec.json.decode(row.messages)}
    for name, content in (("tools", row.tools), ("response_format", row.response_format)):
        if content:
            fields[name] = msgspec.json.decode(content)
    if row.tools and not row.may_call_in_parallel:
        fields["parallel_tool_calls"] = False
    return fields


def _agree(one: _Asked) -> bool:
    said = one.conversation.answer
    if said.get("tool_calls"):
        calls = [call.get("function", {}) for call in said["tool_calls"]]
        return all(str(call.get("name")) in one.row.answer for call in calls)
    return measure_loss(one.row.answer, said.get("content") or "") == 0.0


def _learn(settings: Settings, answered: Sequence[_Asked], model: str) -> list[Report]:
    """Import the answers as lessons, each for the caller whose request it was."""
    owners: dict[tuple[str, str], list[Record]] = {}
    for number, one in enumerate(answered):
        record = Record(file=f"migration to {model}", number=number, conversation=one.conversation)
        owners.setdefault((one.row.caller, one.row.tenant), []).append(record)
    return [
        import_records(records, settings, Owner(caller=caller, tenant=tenant), {})
        for (caller, tenant), records in owners.items()
    ]
