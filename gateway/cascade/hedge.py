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
    """How it ended: with a draft, or without one for a `reason`; `asking` is the teacher's call if begun."""

    draft: Draft | None
    asking: Asking | None = None
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
    asking: Asking | None = None
    try:
        await asyncio.wait((draft,), timeout=after_s)
        if not draft.done():
            asking = asyncio.create_task(ask())
            await asyncio.wait((draft, asking), return_when=asyncio.FIRST_COMPLETED)
            if not draft.done() and asking.exception():
                await asyncio.wait((draft,))
        return _result(draft, asking)
    except BaseException:
        draft.cancel()
        if asking:
            await drop(asking)
        raise


async def drop(asking: Asking) -> None:
    """Break the teacher's call off, whether its reply is there or not."""
    asking.cancel()
    [ended] = await asyncio.gather(asking, return_exceptions=True)
    if isinstance(ended, Reply):
        await ended.body.aclose()


def _result(draft: asyncio.Task[Draft], asking: Asking | None) -> Race:
    if not draft.done():
        draft.cancel()
        return Race(None, asking, "teacher was faster")
    try:
        return Race(draft.result(), asking)
    except SpecialistError as fault:
        if asking is None:
            raise
        return Race(None, asking, fault.reason)
