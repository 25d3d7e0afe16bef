"""A teacher who is asked beside a draft which is late, so that a slow specialist costs no time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from gateway.core import Draft
from gateway.errors import SpecialistError
from gateway.upstream.base import Reply

Asking = asyncio.Task[Reply]


class Race(msgspec.Struct, frozen=True):
    """How it ended: with a draft, or without one for a `reason`; `teacher_call` if one began."""

    draft: Draft | None
    teacher_call: Asking | None = None
    reason: str = ""


async def race(
    drafting: Coroutine[Any, Any, Draft], ask: Callable[[], Coroutine[Any, Any, Reply]], after_s: float | None
) -> Race:
    """Return when the draft is there or, once it took longer than `after_s`, the teacher's reply.

    Without `after_s` the teacher is not asked, and SpecialistError is raised for a draft which failed.
    A teacher who fails ends nothing. Cancelling it cancels both.
    """
    if after_s is None:
        return Race(await drafting)
    draft = asyncio.ensure_future(drafting)
    teacher_call: Asking | None = None
    try:
        await asyncio.wait((draft,), timeout=after_s)
        if not draft.done():
            teacher_call = asyncio.create_task(ask())
            await asyncio.wait((draft, teacher_call), return_when=asyncio.FIRST_COMPLETED)
            if not draft.done() and teacher_call.exception():
                await asyncio.wait((draft,))
        return _result(draft, teacher_call)
    except BaseException:
        draft.cancel()
        if teacher_call:
            await drop(teacher_call)
        raise


async def drop(teacher_call: Asking) -> None:
    """Break the teacher's call off, whether its reply is there or not."""
    teacher_call.cancel()
    [ended] = await asyncio.gather(teacher_call, return_exceptions=True)
    if isinstance(ended, Reply):
        await ended.body.aclose()


def _result(draft: asyncio.Task[Draft], teacher_call: Asking | None) -> Race:
    if not draft.done():
        draft.cancel()
        return Race(None, teacher_call, "teacher was faster")
    try:
        return Race(draft.result(), teacher_call)
    except SpecialistError as fault:
        if teacher_call is None:
            raise
        return Race(None, teacher_call, fault.reason)
