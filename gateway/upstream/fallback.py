"""Several teachers in order: the first that is well answers, and a call moves only before its first byte."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import msgspec

from gateway.errors import UpstreamError
from gateway.upstream.base import Call, Reply
from gateway.upstream.guarded import GuardedTeacher, JudgedBody
from gateway.upstream.model_names import ANY, rename_model
from gateway.upstream.retry import Attempt, without_more_retries
from gateway.upstream.stall import StallWatch


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One teacher of several; `models` are its names by the clients'."""

    teacher: GuardedTeacher
    models: dict[str, str] = {}
    is_trainable: bool = True
    suspect_after_s: float = 10.0


class FallbackTeacher:
    """Implements Teacher over `members`, which calls name; a call that names none goes to all in order."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = {member.teacher.name: member for member in members}
        self._orders: dict[tuple[str, ...], tuple[Member, ...]] = {(): tuple(members)}
        self._checks: set[asyncio.Task[None]] = set()
        self._watches = {
            member.teacher.name: StallWatch(member.teacher, member.suspect_after_s) for member in members
        }

    async def ask(self, call: Call) -> Reply:
        """See upstream.base.Teacher: the reply of the first teacher that gives one, named in `served_by`.

        A teacher with an open circuit is passed by while another can answer. Raises the last UpstreamError.
        """
        order = self._orders.get(call.teachers) or self._order(call.teachers)
        candidates = self._candidates(_order_for(call, order)) if not call.is_bound else [order[0]]
        for member in candidates[:-1]:
            attempt = await self._attempt(member, call, has_fallback=True)
            if not _may_move(attempt, call):
                return _handed_on(attempt, member, order)
            if isinstance(attempt, Reply):
                await attempt.body.aclose()
        attempt = await self._attempt(candidates[-1], call, has_fallback=False)
        return _handed_on(attempt, candidates[-1], order, was_moved=len(candidates) > 1)

    async def close(self) -> None:
        """Close every connection."""
        for check in self._checks:
            check.cancel()
        for member in self._members.values():
            await self._watches[member.teacher.name].close()
            await member.teacher.close()

    async def _attempt(self, member: Member, call: Call, *, has_fallback: bool) -> Attempt:
        renamed = rename_model(call, member.models) if member.models else call
        try:
            if has_fallback and _may_ask_twice(call):
                return await self._watches[member.teacher.name].ask(renamed)
            return await member.teacher.ask(renamed, has_fallback=has_fallback)
        except UpstreamError as exc:
            return exc

    def _order(self, names: tuple[str, ...]) -> tuple[Member, ...]:
        order = self._orders[names] = tuple(self._members[name] for name in names)
        return order

    def _candidates(self, order: tuple[Member, ...]) -> list[Member]:
        """Return the members to ask: those that are well, then those that a check has found so.

        Where there are none, all the same: a call that may fail is better than one that surely does. Members
        that have rested are checked beside the call.
        """
        well, found_well = [], []
        for member in order:
            circuit = member.teacher.circuit
            if not circuit.is_open or circuit.begin_trial():
                well.append(member)
            elif circuit.state == "half open":
                found_well.append(member)
            elif circuit.begin_check():
                check = asyncio.create_task(member.teacher.check())
                self._checks.add(check)
                check.add_done_callback(self._checks.discard)
        return well + found_well or list(order)


def _order_for(call: Call, order: tuple[Member, ...]) -> tuple[Member, ...]:
    """Return the members of `order` that may answer `call`, first the one that its weights have drawn.

    A member that answers all names with one model is none where the same model is needed.
    """
    if call.needs_same_model:
        alike = tuple(member for member in order if member is order[0] or ANY not in member.models)
        if len(alike) < len(order):
            return alike
    return _draw_first(order, call.weights) if call.weights else order


def _draw_first(order: tuple[Member, ...], weights: tuple[float, ...]) -> tuple[Member, ...]:
    """Return `order` with one of it first that its weight has drawn."""
    [drawn] = random.choices(order, weights)  # noqa: S311 - a share of the traffic, no secret
    return (drawn, *(member for member in order if member is not drawn))


def _may_move(attempt: Attempt, call: Call) -> bool:
    """Whether another teacher may be asked: none has begun to answer, and asking twice does no harm."""
    if isinstance(attempt, UpstreamError):
        return _may_ask_twice(call) or not attempt.was_sent
    return _may_ask_twice(call) and _is_failure(attempt)


def _may_ask_twice(call: Call) -> bool:
    return call.is_repeatable or call.is_idempotent


def _is_failure(attempt: Attempt) -> bool:
    return isinstance(attempt, Reply) and (attempt.status >= 500 or attempt.status == 429)


def _handed_on(
    attempt: Attempt, member: Member, order: tuple[Member, ...], *, was_moved: bool = False
) -> Reply:
    """Return the reply as it leaves here; a failure after others says that we have asked often enough."""
    if was_moved and _is_failure(attempt):
        attempt = without_more_retries(attempt)
    if isinstance(attempt, UpstreamError):
        attempt.was_retried |= was_moved
        raise attempt
    is_lesson = member is order[0] and member.is_trainable
    return msgspec.structs.replace(
        attempt,
        served_by=member.teacher.name,
        is_lesson=is_lesson,
        body=JudgedBody(attempt.body, member.teacher) if attempt.link is None else attempt.body,
    )
