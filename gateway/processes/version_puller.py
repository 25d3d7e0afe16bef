"""The puller process: has the versions that certifications name, whichever machine learnt them.

A process of its own because it waits for object storage and imports its clients; nothing that serves does.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence

from gateway.errors import RegistryError
from gateway.ipc.child_process import exit_with_parent, run_child
from gateway.ipc.heartbeat import Heart
from gateway.processes.loops import StepLog
from gateway.processes.registry_access import open_shared, open_shared_bases
from gateway.processes.shared_bases import SharedBases
from gateway.registry.shared import SharedRegistry
from gateway.settings import read_settings
from gateway.store.certifications import CertificationStore
from gateway.store.state import open_state
from gateway.telemetry.logs import configure_logging

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
TRY_AGAIN_S = 10.0
"""After a version could not be pulled: the storage is away, or what lies there is damaged."""
TIDY_EVERY_S = 30.0
"""A version that another machine deleted is gone here so much later."""
LITTER_EVERY_S = 86_400.0
YOUNG_S = 600.0
"""A copy that was just pulled stays: it is being judged, or looked at."""

CertifiedVersion = tuple[str, int, str]
"""Task, version, and the digest that its certification names; empty for one that names none."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Pull until SIGTERM, or until the parent is gone."""
    settings = read_settings(os.environ)
    configure_logging(is_json=settings.server.log_format == "json")
    exit_with_parent()
    Heart(os.environ).beat_in_thread()
    # At once: a version is here as a whole or not at all.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with open_state(settings.home) as state:
        bases = SharedBases(settings.home.models, open_shared_bases(settings))
        registry = open_shared(settings, bases)
        puller = VersionPuller(registry, state.certifications, settings.registry.cache_mb)
        publisher = BasePublisher(bases)
        log = StepLog()
        while True:
            for step in (puller.run_once, puller.delete_litter, publisher.run_once):
                log.run(step)
            time.sleep(LOOK_EVERY_S)


class BasePublisher:
    """Publishes the bases that this machine pulled, from before the storage was set, too."""

    def __init__(self, bases: SharedBases, clock: Callable[[], float] = time.monotonic) -> None:
        self._bases = bases
        self._clock = clock
        self._look_at = float("-inf")

    def run_once(self) -> None:
        """Publish what the storage lacks, when it is time. Raises RegistryError."""
        if self._clock() >= self._look_at:
            self._look_at = self._clock() + TIDY_EVERY_S
            self._bases.publish_own()


class VersionPuller:
    """Keeps this machine's copies: what drafts is here, what was deleted is not, the rest is bounded."""

    def __init__(
        self,
        registry: SharedRegistry,
        certifications: CertificationStore,
        cache_mb: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._certifications = certifications
        self._cache_bytes = cache_mb << 20
        self._clock = clock
        self._seen: set[CertifiedVersion] = set()
        self._failed: dict[CertifiedVersion, tuple[float, str]] = {}
        self._tidy_at = self._litter_at = float("-inf")

    def run_once(self) -> None:
        """Pull what is missing, and drop what is not needed when it is time."""
        self._certifications.refresh()
        wanted = {
            (one.task, one.version, one.digest)
            for one in self._certifications.all()
            if one.version is not None
        }
        self._failed = {each: failed for each, failed in self._failed.items() if each in wanted}
        for each in sorted(wanted):
            self._have(each)
        # What was withdrawn may have been deleted, too.
        if self._clock() >= self._tidy_at or self._seen - wanted:
            self._tidy_at = self._clock() + TIDY_EVERY_S
            self._registry.drop_deleted()
            self._bound({(task, version) for task, version, _ in wanted})
        self._seen = wanted

    def delete_litter(self) -> None:
        """Tidy the storage when it is time. Raises RegistryError if it is away."""
        if self._clock() >= self._litter_at:
            self._litter_at = self._clock() + TRY_AGAIN_S
            self._registry.delete_litter(time.time())
            self._litter_at = self._clock() + LITTER_EVERY_S

    def _have(self, wanted: CertifiedVersion) -> None:
        is_new = wanted not in self._seen
        tried_at, said = self._failed.get(wanted, (float("-inf"), ""))
        if self._clock() < tried_at + TRY_AGAIN_S:
            return
        task, version, digest = wanted
        is_here = self._registry.has(task, version, digest)
        if is_here and not is_new and not said:
            return
        try:
            # What is here from an earlier run may be damaged; what comes is verified as it comes.
            if is_here:
                self._registry.mend(task, version, digest)
            else:
                self._registry.pull(task, version, digest)
        except RegistryError as exc:
            self._failed[wanted] = self._clock(), str(exc)
            if str(exc) != said:
                logger.error("%s version %d cannot serve here, the teacher answers: %s", task, version, exc)
            return
        self._failed.pop(wanted, None)
        if not is_here:
            logger.info("%s version %d was pulled", task, version)

    def _bound(self, drafting: set[tuple[str, int]]) -> None:
        """Drop the oldest copies that do not draft while there are more than fit."""
        copies = [copy for copy in self._registry.copies() if (copy.task, copy.version) not in drafting]
        total = sum(copy.size_bytes for copy in copies)
        for copy in copies:
            if total <= self._cache_bytes or copy.at > time.time() - YOUNG_S:
                return
            self._registry.drop_copy(copy.task, copy.version)
            total -= copy.size_bytes


if __name__ == "__main__":
    run_child(main)
