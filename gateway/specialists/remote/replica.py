"""One server of an engine: its load, its health, the model it runs, and the adapters it holds."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.errors import SpecialistError
from gateway.ipc.backoff import Backoff
from gateway.specialists.remote.identity import Identity

logger = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0


class Replica:
    """Counts what is under way at one base URL; for one event loop."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.root = self.url.removesuffix("/v1")
        """Where a server keeps what is no part of OpenAI's API."""
        self.in_flight = 0
        self.identity: Identity | None = None
        self.checked_at = 0.0
        self.fingerprint: str | None = None
        """The `system_fingerprint` of its last answer."""
        self.adapters: dict[str, int] = {}
        """The adapters it is known to hold, by name, each with its number there."""
        self._backoff = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        self._not_before = 0.0
        self._is_suspect = False

    def is_available(self) -> bool:
        """Whether a draft may be sent there; after a failure one at a time, until one succeeds."""
        if not self._is_suspect:
            return True
        return self.in_flight == 0 and time.monotonic() >= self._not_before

    @contextmanager
    def count(self) -> Iterator[None]:
        """Count one draft as under way until the block ends."""
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def note_success(self) -> None:
        """Note that it answered."""
        if self._is_suspect:
            logger.warning("the engine at %s answers again", self.root)
        self._is_suspect = False
        self._backoff.reset()

    def note_failure(self, exc: SpecialistError) -> None:
        """Set it aside for a pause, which grows; forget what it held, as it may be restarted."""
        if not self._is_suspect:
            logger.warning("the engine at %s is set aside: %s", self.root, exc)
        self._is_suspect = True
        self._not_before = time.monotonic() + self._backoff.next_pause_s()
        self.forget()

    def forget(self) -> None:
        """Have its model and its adapters checked before the next draft."""
        self.checked_at = 0.0
        self.adapters.clear()
