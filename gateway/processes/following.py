"""What a worker follows beside its requests: certificates, audits, spending, versions."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable

from gateway.confidence.drift import DriftMonitor
from gateway.confidence.probation import ProbationMonitor
from gateway.core import Certification
from gateway.errors import RegistryError, RequestError, SpecialistError
from gateway.processes.loops import Loops, StepLog
from gateway.registry.models import Registry
from gateway.sharing.contact import Contact
from gateway.specialists.client.client import HostClient
from gateway.store.keys import KeyFacts
from gateway.store.state import State
from gateway.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

# The longest that a worker does not see the certifications and audits of its siblings.
REFRESH_S = 0.25
# Takes 0.5 ms with few metrics and 4 ms with hundreds; who is asked for them shows its own at once.
SHOW_S = 0.5
LOOK_EVERY_S = 0.02
"""Whether specialists are loaded, while the start waits for that."""
WARM_LIMIT_S = 15.0
"""The longest that a machine among several is not ready because its specialists are not."""
CONTACT_LIMIT_S = 5.0
"""The longest that one whose lease is over waits for the others, without whom no specialist serves."""
LOAD_AGAIN_S = 10.0
"""After the model host refused the files of a version."""


class Following:
    """Exchanges state with the other processes, in loops of which none waits for another.

    What could not be read for `stale_after_s` counts no more: keys are refused, no specialist serves.
    The keys themselves are read by KeyWatch.
    """

    def __init__(
        self,
        state: State,
        *,
        refresh_accounts: Callable[[], object],
        metrics: Metrics,
        drafter: HostClient,
        registry: Registry,
        stale_after_s: float,
        contact: Contact | None = None,
        machine: str = "",
        is_pulling: bool = True,
    ) -> None:
        """`contact` is that with the machines that share the state; None: there are none.

        `machine` is the name of this one among them. If it `is_pulling`, versions that are not here may come.
        """
        self._state = state
        self._refresh_accounts = refresh_accounts
        self._metrics = metrics
        self._drafter = drafter
        self._registry = registry
        self._stale_after_s = stale_after_s
        self._contact = contact
        self._machine = machine
        self._has_forgotten = contact is None
        self._drift_monitor = DriftMonitor(state.certifications, state.audits)
        self._probation_monitor = ProbationMonitor(state.templates, state.audits)
        self._is_pulling = is_pulling
        self._loaded: dict[tuple[str, int], str] = {}
        self._refused: dict[tuple[str, int], float] = {}
        self._knows_certificates = self._is_warm = False
        self._began_at = time.monotonic()
        self._loops = Loops()
        self._step_log = StepLog()
        self._has_read = asyncio.Event()
        self._refreshed_at = time.monotonic()

    def start(self) -> None:
        """Begin; call it in the loop that serves."""
        for step in (self._refresh, self._watch_age):
            self._loops.start(step, REFRESH_S)
        # As soon as they are read: until a new version is loaded, the teacher answers in its place.
        self._loops.start(self._follow_versions, 0.0)
        self._loops.start(self._show, SHOW_S)

    async def stop(self) -> None:
        """Follow no more."""
        await self._loops.stop()

    @property
    def is_fresh(self) -> bool:
        """Whether this worker knows what other processes decided lately."""
        return not self._is_stale(self._state.keys.read_at) and not self._is_stale(self._refreshed_at)

    @property
    def has_joined(self) -> bool:
        """Whether this machine ever had the state of the others: a new one knows none of their keys."""
        return self._contact is None or self._contact.has_been

    @property
    def is_ready(self) -> bool:
        """Whether requests should come to this worker."""
        return self.is_fresh and self.has_joined and self.is_warm

    @property
    def is_warm(self) -> bool:
        """Whether this machine drafts what it may, or has tried for long; alone it need not wait for that.

        Among several another one has its requests meanwhile, and answers them locally.
        """
        contact = self._contact
        if contact is not None and not self._is_warm:
            is_alone = contact.has_been and not contact.has_lease
            limit_s = CONTACT_LIMIT_S if is_alone else WARM_LIMIT_S
            # For good: when the others come back a moment later, it goes on as it is.
            self._is_warm = time.monotonic() - self._began_at > limit_s
        return contact is None or self._is_warm

    async def wait_until_warm(self) -> None:
        """Return once `is_warm` is true."""
        while not self.is_warm:  # noqa: ASYNC110 - by the time alone, too
            await asyncio.sleep(LOOK_EVERY_S)

    def find_key(self, key_hash: str) -> KeyFacts | None:
        """Return the key with that hash. Raises RequestError (503) while it may have been revoked unseen.

        Also while an unknown one may have been made on a machine that cannot be reached.
        """
        contact = self._contact
        if self._is_stale(self._state.keys.read_at) or (contact and not contact.knows_keys):
            raise _keys_unreadable()
        key = self._state.keys.find_by_hash(key_hash)
        if key is None and contact and not contact.is_connected:
            raise _keys_unreadable()
        return key

    def _is_stale(self, read_at: float) -> bool:
        return time.monotonic() - read_at >= self._stale_after_s

    async def _refresh(self) -> None:
        if await asyncio.to_thread(self._take_steps):
            self._refreshed_at = time.monotonic()
        self._has_read.set()

    async def _watch_age(self) -> None:
        if self._is_stale(self._refreshed_at) or not self._has_lease:
            # An alarm may have been given meanwhile: nothing is served locally that may be withdrawn.
            self._knows_certificates = False
            self._has_forgotten = self._contact is None
            self._state.certifications.forget()

    @property
    def _has_lease(self) -> bool:
        return self._contact is None or self._contact.has_lease

    def _has_done_its_forgetting(self) -> bool:
        """Whether a machine that was away, or starts, has carried out what others asked to forget meanwhile.

        Until then a specialist may know what nobody may be told. One that was there all the time serves on.
        """
        self._has_forgotten = self._has_forgotten or not self._state.forgets.waiting(self._machine)
        return self._has_forgotten

    async def _show(self) -> None:
        await asyncio.to_thread(self._metrics.update_registry)

    def _take_steps(self) -> bool:
        """Take each step, off the loop; return whether freezes and certifications are those on disk."""
        state, run = self._state, self._step_log.run
        # First: a freeze may not wait for a disk that writes slowly.
        are_read = [run(state.interventions.refresh)]
        run(state.tasks.refresh)
        run(state.audits.flush)
        if self._has_lease and self._has_done_its_forgetting():
            are_read.append(run(state.certifications.refresh))
            self._knows_certificates = are_read[-1]
            # Without certificates it would read past audits that count against them.
            run(self._drift_monitor.refresh)
        for step in (
            state.templates.refresh, self._probation_monitor.refresh,
            state.objects.flush, state.reviews.flush, self._refresh_accounts, state.decisions.flush,
        ):  # fmt: skip
            run(step)
        return all(are_read)

    async def _follow_versions(self) -> None:
        """Let the host load the versions that certifications name, and unload the others."""
        await self._has_read.wait()
        self._has_read.clear()
        if not self.is_fresh:
            # Then none is known, and that is no reason to unload them all.
            return
        if not (self._has_lease and self._has_forgotten):
            # A machine that was cut off for a minute should not have to load them again.
            return
        certifications = self._state.certifications.all()
        here = filter(self._is_here, certifications)
        wanted = {(one.task, one.version): one.digest for one in here if one.version is not None}
        for task, version in [each for each, digest in self._loaded.items() if wanted.get(each) != digest]:
            await self._drafter.unload(task, version)
            del self._loaded[task, version]
        # A host that was started again may have refused the files of one that the last host had loaded.
        self._loaded = {each: self._loaded[each] for each in self._loaded.keys() & self._drafter.held}
        self._refused = {each: at for each, at in self._refused.items() if each in wanted}
        for task, version in wanted.keys() - self._loaded.keys():
            if time.monotonic() - self._refused.get((task, version), -math.inf) >= LOAD_AGAIN_S:
                await self._load(task, version, wanted[task, version])
        answers = self._knows_certificates and (not wanted or self._drafter.is_ready)
        if answers and all(map(self._is_loaded, certifications)):
            self._is_warm = True

    def _is_loaded(self, one: Certification) -> bool:
        """Whether the version of a certification drafts, or never will as it is."""
        return one.version is None or (one.task, one.version) in {*self._loaded, *self._refused}

    def _is_here(self, one: Certification) -> bool:
        """Whether this machine need not pull the version of a certification any more."""
        version = one.version or 0
        if not (self._is_pulling and one.digest) or self._loaded.get((one.task, version)) == one.digest:
            return True
        return self._registry.has(one.task, version, one.digest)

    async def _load(self, task: str, version: int, digest: str) -> None:
        try:
            if digest and not self._registry.has(task, version, digest):
                raise RegistryError("what was certified is not on this machine")
            with contextlib.suppress(SpecialistError):
                # The client remembers the load, and repeats it when a host starts.
                await self._drafter.load(task, version, self._registry.folder(task, version))
        except RegistryError as exc:
            if (task, version) not in self._refused:
                logger.error("%s version %d cannot serve, the teacher answers: %s", task, version, exc)
            # Until it is put right.
            self._refused[task, version] = time.monotonic()
        else:
            self._loaded[task, version] = digest
            self._refused.pop((task, version), None)


def _keys_unreadable() -> RequestError:
    return RequestError(
        "The gateway cannot read its keys at the moment; try again.",
        status=503,
        kind="server_error",
        code="keys_unreadable",
    )
