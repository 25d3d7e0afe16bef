"""The harvest's retention, kept while the gateway serves."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from gateway.harvest.removal import prune
from gateway.harvest.retention import Retention
from gateway.policy.schema import Policy
from gateway.processes.loops import Loops
from gateway.settings import Harvest

logger = logging.getLogger(__name__)

PRUNE_EVERY_S = 600.0
"""A row is gone at most so long after its time; a search that finds none takes a millisecond per file."""


class Pruning:
    """Removes what may be kept no longer, at the start and every ten minutes, off the event loop."""

    def __init__(self, folder: Path, retention: Retention) -> None:
        self._folder = folder
        self._retention = retention
        self._loops = Loops()

    def start(self) -> None:
        """Begin; call it in the loop that serves."""
        self._loops.start(self._prune, PRUNE_EVERY_S)

    async def stop(self) -> None:
        """Prune no more."""
        await self._loops.stop()

    async def _prune(self) -> None:
        removed = await asyncio.to_thread(prune, self._folder, self._retention, time.time())
        if removed:
            logger.info("harvest: %d rows removed, their time was over", removed)


def read_retention(harvest: Harvest, policies: Sequence[Policy]) -> Retention:
    """Return the limits that are in force now."""
    return Retention(
        keep_days=harvest.keep_days,
        max_mb=harvest.max_mb,
        by_policy={policy.name: policy.keep_days for policy in policies if policy.keep_days is not None},
    )
