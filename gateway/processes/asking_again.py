"""Requests of harvested rows, asked again of another model within a budget."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gateway.core import Usage
from gateway.errors import UpstreamError
from gateway.finops.prices import PriceTable
from gateway.harvest.base import Row
from gateway.harvest.conversations import (
    Conversation,
    RecordedSurface,
    RecordError,
    read_completion,
    read_response,
)
from gateway.processes.rebuilding import rebuild_request
from gateway.processes.teachers import combine_teachers, create_teachers
from gateway.settings import Settings
from gateway.upstream.base import Call, Teacher
from gateway.wire.surfaces import find_codec

AT_ONCE = 4
"""Calls in flight."""
_TOKENS_OF_AN_ANSWER = 512
"""Expected where the old answer does not tell."""
_LONGEST_REASON = 200
_PATHS: dict[RecordedSurface, bytes] = {"chat": b"/v1/chat/completions", "responses": b"/v1/responses"}
_MORE: dict[RecordedSurface, dict[str, Any]] = {"chat": {}, "responses": {"store": False}}
"""Sent beside what the app sends: OpenAI stores responses by default, and nobody will ask it for these."""
_HEADERS = ((b"content-type", b"application/json"), (b"accept-encoding", b"identity"))


class AnsweredRow(msgspec.Struct, frozen=True):
    """A row whose request was asked again, and what was answered."""

    row: Row
    conversation: Conversation
    """Without an answer if that was cut or filtered."""


class TeacherAsking:
    """Calls of one model that together never cost more than expected beyond a budget.

    `failed` calls, the `fault` of the first of them, and `usd` spent only grow; `is_spent` once a row
    would have cost more than was left.
    """

    def __init__(self, settings: Settings, model: str, budget_usd: float) -> None:
        self.failed = 0
        self.is_spent = False
        self.fault = ""
        self.usd = 0.0
        self._settings = settings
        self._model = model
        self._budget_usd = budget_usd
        self._reserved_usd = 0.0
        self._prices = PriceTable(settings.prices, settings.costs.unknown_price)

    async def ask_all(self, rows: Sequence[Row], by_row: Mapping[str, tuple[str, ...]]) -> list[AnsweredRow]:
        """Return the rows that were answered, in no order; every one of `rows` can be rebuilt.

        `by_row` names by a row's id the teachers of its policy; the first of them is asked.
        """
        teachers = create_teachers(self._settings)
        teacher = combine_teachers(teachers, self._settings)
        waiting, answered = list(reversed(rows)), list[AnsweredRow]()

        async def work() -> None:
            while waiting:
                row = waiting.pop()
                expected = self._expect_usd(row)
                if self.usd + self._reserved_usd + expected > self._budget_usd:
                    self.is_spent = True
                    waiting.clear()
                    return
                self._reserved_usd += expected
                if found := await self._ask(teacher, row, by_row[row.request_id]):
                    answered.append(found)
                self._reserved_usd -= expected

        try:
            await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        finally:
            await teacher.close()
        return answered

    async def _ask(self, teacher: Teacher, row: Row, names: tuple[str, ...]) -> AnsweredRow | None:
        asked = rebuild_request(row, self._model)
        call = Call(
            method="POST",
            target=_PATHS[asked.surface],
            headers=_HEADERS,
            body=msgspec.json.encode({**asked.fields, **_MORE[asked.surface]}),
            is_repeatable=True,
            teachers=names,
            # What a fallback answers teaches nothing, so it would be paid for in vain.
            is_bound=True,
        )
        try:
            reply = await teacher.ask(call)
            content = b"".join([piece async for piece in reply.body])
            if reply.status != 200:
                raise RecordError(f"HTTP {reply.status} {_read_reason(content)}".rstrip())
            answer = msgspec.json.decode(content, type=dict[str, Any])
            reading = find_codec(asked.surface).parse_answer(content, False, True)
            self.usd += self._price(reading.usage or Usage(0, 0))
            has_ended = reading.usage is not None or bool(reading.finish_reason)
            return AnsweredRow(row, _add_answer(asked, answer, is_paid=has_ended))
        except (UpstreamError, RecordError, msgspec.MsgspecError) as exc:
            self.failed += 1
            self.fault = self.fault or str(exc)
            return None

    def _expect_usd(self, row: Row) -> float:
        prompt = row.prompt_tokens or len(row.messages) // 3
        return self._price(Usage(prompt, row.completion_tokens or _TOKENS_OF_AN_ANSWER))

    def _price(self, usage: Usage) -> float:
        return self._prices.find("", self._model, "", time.time()).prices.cost(usage)


def _add_answer(asked: Conversation, answer: dict[str, Any], *, is_paid: bool) -> Conversation:
    """Return the conversation with its answer. Raises RecordError for none that anybody paid for."""
    read = read_response if asked.surface == "responses" else read_completion
    try:
        return read(asked.fields, answer)
    except RecordError:
        if not is_paid:
            raise
        # Cut or filtered: it teaches nothing, and must not be paid for twice.
        return asked


def _read_reason(content: bytes) -> str:
    """Return what an answer says of an error, in OpenAI's shape; empty if it says nothing."""
    try:
        return str(msgspec.json.decode(content)["error"]["message"])[:_LONGEST_REASON]
    except (msgspec.MsgspecError, LookupError, TypeError):
        return ""
