"""Requests of harvested rows, asked again of another model within a budget."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from gateway.core import Usage
from gateway.errors import UpstreamError
from gateway.finops.prices import PriceTable
from gateway.harvest.base import Row
from gateway.harvest.conversations import Conversation, RecordError, read_completion
from gateway.processes.teachers import combine_teachers, create_teachers
from gateway.settings import Settings
from gateway.upstream.base import Call, Teacher
from gateway.wire.chat.reading import parse_answer
from gateway.wire.template import compute_fingerprints

AT_ONCE = 4
"""Calls in flight."""
_TOKENS_OF_AN_ANSWER = 512
"""Expected where the old answer does not tell."""
_LONGEST_REASON = 200
_HEADERS = ((b"content-type", b"application/json"), (b"accept-encoding", b"identity"))


class AnsweredRow(msgspec.Struct, frozen=True):
    """A row whose request was asked again, and what was answered."""

    row: Row
    conversation: Conversation
    text: str | None
    """What the harvest would keep as the answer; None for one that nothing can be learnt from."""


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

    async def ask_all(self, rows: Sequence[Row]) -> list[AnsweredRow]:
        """Return the rows that were answered, in no order; every one of `rows` can be rebuilt."""
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
                if found := await self._ask(teacher, row):
                    answered.append(found)
                self._reserved_usd -= expected

        try:
            await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        finally:
            await teacher.close()
        return answered

    async def _ask(self, teacher: Teacher, row: Row) -> AnsweredRow | None:
        fields = rebuild_request(row, self._model)
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
            return AnsweredRow(row, read_completion(fields, answer), parse_answer(content, False, True).text)
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


def can_be_rebuilt(row: Row) -> bool:
    """Whether the request of `row` can be sent through the chat API as the app would.

    Not if it came through the Responses API, or private data was replaced in what it repeats.
    """
    return _find_tool_choice(row) is not None


def rebuild_request(row: Row, model: str) -> dict[str, Any]:
    """Return the request of `row`, to `model`, as the app would send it; only of one that can be rebuilt."""
    choice = _find_tool_choice(row)
    assert choice is not None, "see can_be_rebuilt"
    fields: dict[str, Any] = {"model": model, "messages": msgspec.json.decode(row.messages)}
    contract = (("tools", row.tools), ("response_format", row.response_format), ("tool_choice", choice))
    # Byte for byte: a task is named by how the app spells these.
    fields |= {name: msgspec.Raw(content) for name, content in contract if content}
    if row.tools and not row.may_call_in_parallel:
        fields["parallel_tool_calls"] = False
    return fields


def _find_tool_choice(row: Row) -> bytes | None:
    """Return the `tool_choice` of a request, which no row keeps, by its template; None if none fits."""
    facts = (row.model.encode(), row.template_text, row.tools, row.response_format)
    fitting = (
        each for each in _list_choices(row.tools) if compute_fingerprints(*facts, each)[0] == row.template
    )
    return next(fitting, None)


def _list_choices(tools: bytes) -> Iterator[bytes]:
    """Yield what an app may have sent, as clients spell it, the likeliest first; empty for none."""
    yield b""
    if not tools:
        return
    yield from (b'"required"', b'"none"')
    for tool in msgspec.json.decode(tools):
        choice = {"type": "function", "function": {"name": tool.get("function", {}).get("name")}}
        yield from (msgspec.json.encode(choice), json.dumps(choice).encode())


def _read_reason(content: bytes) -> str:
    """Return what an answer says of an error, in OpenAI's shape; empty if it says nothing."""
    try:
        return str(msgspec.json.decode(content)["error"]["message"])[:_LONGEST_REASON]
    except (msgspec.MsgspecError, LookupError, TypeError):
        return ""
