"""Loops that run beside the requests and never end by themselves."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Protocol

from gateway.errors import StepdownError

logger = logging.getLogger(__name__)

EXPECTED = (sqlite3.Error, OSError, StepdownError)
"""Faults of the disk and of what was stored; anything else is a mistake of ours and logged with its place."""


class Chore(Protocol):
    """Work beside the requests, with loops of its own."""

    def start(self) -> None:
        """Begin; call it in the loop that serves."""

    async def stop(self) -> None:
        """Do no more."""


class StepLog:
    """Runs steps so that a failure ends nothing: it is logged once, until the step has succeeded again."""

    def __init__(self) -> None:
        self._failing: set[str] = set()

    def run(self, step: Callable[[], object]) -> bool:
        """Run `step`; return whether it succeeded."""
        try:
            step()
        except Exception as exc:
            # An outermost edge: one step that fails must not keep the next ones from running, ever.
            self.note_failure(step.__qualname__, exc)
            return False
        self.note_success(step.__qualname__)
        return True

    def note_failure(self, name: str, exc: Exception) -> None:
        """Log the failure of the step called `name` unless its last run failed as well."""
        if name not in self._failing:
            where = None if isinstance(exc, EXPECTED) else exc
            logger.error("%s failed and is tried again: %s", name, exc, exc_info=where)
        self._failing.add(name)

    def note_success(self, name: str) -> None:
        """Note that the step called `name` has succeeded; its next failure is logged."""
        if name in self._failing:
            logger.warning("%s works again", name)
            self._failing.discard(name)


class Loops:
    """Tasks that run a step each, again and again, until `stop`."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._log = StepLog()

    def start(self, step: Callable[[], Awaitable[object]], pause_s: float) -> None:
        """Run `step` and pause, for ever; each loop is a task of its own, so that none waits for another."""
        self._tasks.append(asyncio.create_task(self._keep_running(step, pause_s)))

    async def stop(self) -> None:
        """End every loop."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep_running(self, step: Callable[[], Awaitable[object]], pause_s: float) -> None:
        name = step.__qualname__
        while True:
            try:
                await step()
            except Exception as exc:
                # The task's outermost edge: only those that it served would miss a loop that has ended.
                self._log.note_failure(name, exc)
            else:
                self._log.note_success(name)
            await asyncio.sleep(pause_s)
