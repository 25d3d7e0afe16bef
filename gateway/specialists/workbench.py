"""The model host's bounded queue of work: questions in, replies out, threads in between."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec

from gateway.errors import RegistryError, SpecialistError
from gateway.specialists.fleet import Fleet, Version
from gateway.specialists.protocol import Ask, Done, Drafted, Embed, Embedded, Failed, Load, Reply, Unload

logger = logging.getLogger(__name__)

Send = Callable[[Reply], None]
Ticket = Future[Reply]
"""Work which can still be cancelled while it waits."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much work is taken on."""

    threads: int = 2
    waiting: int = 64
    """Drafts and embeddings in work or in the queue; about 150 ms of it at 4 ms each."""
    stuck_s: float = 20.0
    """A draft which runs longer will never end; the host ends instead and is started anew."""


class Workbench:
    """Carries out questions; its methods belong to the event loop's thread.

    A version stays loaded as long as some holder (a connection) wants it, so that one
    gateway worker cannot take it away from another.
    """

    def __init__(
        self, fleet: Fleet, limits: Limits, give_up: Callable[[], object] = lambda: os._exit(70)
    ) -> None:
        self._fleet = fleet
        self._limits = limits
        self._give_up = give_up
        self._drafting = ThreadPoolExecutor(limits.threads, thread_name_prefix="draft")
        self._loading = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._in_work = 0
        self._started: dict[int, float] = {}
        self._holders: dict[Version, set[object]] = {}

    def draft(self, question: Ask | Embed, send: Send) -> Ticket | None:
        """Queue a draft or an embedding; `send` gets the reply later, or "overloaded" at once."""
        if self._in_work >= self._limits.waiting:
            send(Failed(question.id, "specialists", "overloaded", ""))
            return None
        self._in_work += 1
        deadline = time.monotonic() + question.budget_ms / 1_000
        ticket = self._drafting.submit(self._draft_in_time, question, deadline)

        def finish(done: Ticket) -> None:
            self._in_work -= 1
            if not done.cancelled():
                send(done.result())

        _when_done(ticket, finish)
        return ticket

    def load(self, question: Load, holder: object, send: Send) -> None:
        """Load a version on behalf of `holder`, one at a time beside the drafts."""
        version = Version(question.task, question.version)
        self._holders.setdefault(version, set()).add(holder)
        ticket = self._loading.submit(self._load_now, question, version)

        def finish(done: Ticket) -> None:
            if done.cancelled():
                return
            reply = done.result()
            if isinstance(reply, Failed) or holder not in self._holders.get(version, ()):
                self._release(version, holder)
            send(reply)

        _when_done(ticket, finish)

    def unload(self, question: Unload, holder: object, send: Send) -> None:
        """Note that `holder` needs the version no longer."""
        self._release(Version(question.task, question.version), holder)
        send(Done(question.id))

    def release_all(self, holder: object) -> None:
        """Note that `holder` is gone."""
        for version in [version for version, holders in self._holders.items() if holder in holders]:
            self._release(version, holder)

    async def watch(self, every_s: float = 1.0) -> None:
        """Give up once a draft is stuck: no thread can be taken back from it."""
        while True:
            await asyncio.sleep(every_s)
            oldest = min(self._started.copy().values(), default=None)
            if oldest is not None and time.monotonic() - oldest > self._limits.stuck_s:
                logger.error("a draft has been running for %.0f s: giving up", self._limits.stuck_s)
                self._give_up()

    def close(self) -> None:
        """Drop what waits; what runs is left alone."""
        self._drafting.shutdown(wait=False, cancel_futures=True)
        self._loading.shutdown(wait=False, cancel_futures=True)

    def _release(self, version: Version, holder: object) -> None:
        holders = self._holders.get(version, set())
        holders.discard(holder)
        if not holders:
            self._holders.pop(version, None)
            self._fleet.unload(version)

    def _draft_in_time(self, question: Ask | Embed, deadline: float) -> Reply:
        began = time.monotonic()
        if began > deadline:
            return Failed(question.id, "specialists", "late", "its time was over before its turn")
        self._started[threading.get_ident()] = began
        try:
            return self._draft_now(question)
        except SpecialistError as fault:
            return Failed(question.id, "specialists", fault.reason, "")
        except Exception as exc:
            # Only the kind: a message may quote the prompt.
            logger.error("a draft failed with %s", type(exc).__name__)
            return Failed(question.id, "specialists", "specialist failed", type(exc).__name__)
        finally:
            del self._started[threading.get_ident()]

    def _draft_now(self, question: Ask | Embed) -> Reply:
        if isinstance(question, Embed):
            return Embedded(question.id, self._fleet.embed(question.text))
        began = time.perf_counter()
        proposal = self._fleet.draft(Version(question.task, question.version), question.text)
        return Drafted(
            question.id,
            text=proposal.text,
            score=proposal.score,
            evidence=proposal.evidence,
            prompt_tokens=proposal.prompt_tokens,
            completion_tokens=proposal.completion_tokens,
            latency_ms=(time.perf_counter() - began) * 1_000,
        )

    def _load_now(self, question: Load, version: Version) -> Reply:
        try:
            self._fleet.load(version, Path(question.folder))
        except RegistryError as exc:
            return Failed(question.id, "registry", str(exc), "")
        except Exception as exc:
            logger.exception("loading %s failed", version)
            return Failed(question.id, "registry", f"{question.folder}: {type(exc).__name__}: {exc}", "")
        return Done(question.id)


def _when_done(ticket: Ticket, finish: Callable[[Ticket], None]) -> None:
    """Have `finish` called on the event loop once `ticket` is done or cancelled."""
    loop = asyncio.get_running_loop()

    def hand_over(done: Ticket) -> None:
        # The loop is closed when a thread outlives the host's last moments.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(finish, done)

    ticket.add_done_callback(hand_over)
