"""Hedging: the teacher is called beside a late draft, so that a slow specialist costs no time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from gateway.cascade.base import TeacherCall
from gateway.core import Draft
from gateway.errors import SpecialistError
from gateway.upstream.base import Reply


class HedgedDraft(msgspec.Struct, frozen=True):
    """The draft, or the `reason` why there is none; `teacher_call` if the teacher was called."""

    draft: Draft | None
    teacher_call: TeacherCall | None = None
    reason: str = ""


async def await_draft(
    drafting: Coroutine[Any, Any, Draft],
    call_teacher: Callable[[], Coroutine[Any, Any, Reply]],
    hedge_s: float | None,
) -> HedgedDraft:
    """Return once the draft is there or, if it takes longer than `hedge_s`, the teacher's reply.

    Without `hedge_s` the teacher is not called. Raises SpecialistError if the draft fails before
    the teacher is called. If the teacher fails, the draft is awaited. Cancelling it cancels both.
    """
    if hedge_s is None:
        return HedgedDraft(await drafting)
    draft = asyncio.ensure_future(drafting)
    teacher_call: TeacherCall | None = None
    try:
        await asyncio.wait((draft,), timeout=hedge_s)
        if not draft.done():
            teacher_call = asyncio.create_task(call_teacher())
            await asyncio.wait((draft, teacher_call), return_when=asyncio.FIRST_COMPLETED)
            if not draft.done() and teacher_call.exception():
                await asyncio.wait((draft,))
        return _hedged_draft(draft, teacher_call)
    except BaseException:
        is_there = not draft.cancel() and not draft.cancelled() and not draft.exception()
        if is_there and (stream := draft.result().stream):
            # It came in the very moment in which its client left.
            await stream.aclose()
        if teacher_call:
            await cancel_teacher_call(teacher_call)
        raise


async def cancel_teacher_call(teacher_call: TeacherCall) -> None:
    """Break off the teacher's call, whether or not its reply has begun."""
    teacher_call.cancel()
    [ended] = await asyncio.gather(teacher_call, return_exceptions=True)
    if isinstance(ended, Reply):
        await ended.body.aclose()


def _hedged_draft(draft: asyncio.Task[Draft], teacher_call: TeacherCall | None) -> HedgedDraft:
    if not draft.done():
        draft.cancel()
        return HedgedDraft(None, teacher_call, "teacher was faster")
    try:
        return HedgedDraft(draft.result(), teacher_call)
    except SpecialistError as exc:
        if teacher_call is None:
            raise
        return HedgedDraft(None, teacher_call, exc.reason)
