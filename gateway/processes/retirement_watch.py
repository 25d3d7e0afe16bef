"""The days on which teachers retire models, asked now and then while the gateway serves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import date

from gateway.processes.loops import Loops
from gateway.processes.teacher_check import TeacherCheck, check_all
from gateway.settings import Settings
from gateway.store.retirements import write_retirements
from gateway.upstream.guarded import GuardedTeacher

logger = logging.getLogger(__name__)

# Not at the start, where there is enough to do; months lie between the word and the day.
FIRST_AFTER_S = 60.0
EVERY_S = 6 * 3_600.0

Check = Callable[[Settings], Awaitable[list[TeacherCheck]]]


class RetirementWatch:
    """Tells `teachers` which of their models retire, for metrics and status; one process is enough."""

    def __init__(
        self, settings: Settings, teachers: Sequence[GuardedTeacher], check: Check = check_all
    ) -> None:
        self._settings = settings
        self._teachers = {teacher.name: teacher for teacher in teachers}
        self._check = check
        self._loops = Loops()

    def start(self) -> None:
        """Begin; call it in the loop that serves."""
        # Without a key of our own we cannot ask: only clients have one.
        if self._settings.upstream.api_key is not None:
            self._loops.start(self._wait_and_look, EVERY_S)

    async def stop(self) -> None:
        """Ask no more."""
        await self._loops.stop()

    async def look(self) -> None:
        """Ask every teacher for its models; one that does not answer says nothing new."""
        for check in await self._check(self._settings):
            if check.models is None or check.problem:
                continue
            teacher = self._teachers[check.name]
            for model, day in check.retirements.items() - teacher.retirements.items():
                logger.warning("teacher %s retires the model %s on %s", check.name, model, day)
            teacher.retirements = check.retirements
        said: dict[str, dict[str, date]] = {
            name: teacher.retirements for name, teacher in self._teachers.items()
        }
        await asyncio.to_thread(write_retirements, self._settings.home, said)

    async def _wait_and_look(self) -> None:
        await asyncio.sleep(FIRST_AFTER_S)
        await self.look()
