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
from gateway.specialists.host.listener import ReplyListener, Send
from gateway.specialists.host.loaded_models import LoadedModels, Version
from gateway.specialists.protocol import Ask, Done, Embed, Embedded, Failed, Load, Reply, Unload, drafted

logger = logging.getLogger(__name__)

_Work = Future[Reply]


class Job:
    """Work which may be called off: dropped while it waits, told so while it runs."""

    def __init__(self, work: _Work, listener: ReplyListener) -> None:
        self._work = work
        self._ear = listener

    def cancel(self) -> bool:
        """Say that nobody waits any more; return whether the work had not begun."""
        self._ear.leave()
        return self._work.cancel()


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much work is taken on."""

    threads: int = 2
    waiting: int = 64
    """Drafts and embeddings in work or in the queue; about 150 ms of it at 4 ms each."""
    remote_threads: int = 32
    """Drafts made in another process which are waited for at once; twice as many may be asked."""
    stuck_s: float = 20.0
    """A draft of which nothing is heard for longer will never end; the host ends instead and is
    started anew. A long answer which is streamed may take its time."""


class WorkQueue:
    """Carries out questions; its methods belong to the event loop's thread.

    A version stays loaded as long as some holder (a connection) wants it, so that one
    gateway worker cannot take it away from another.
    """

    def __init__(
        self, models: LoadedModels, limits: Limits, give_up: Callable[[], object] = lambda: os._exit(70)
    ) -> None:
        self._fleet = models
        self._limits = limits
        self._give_up = give_up
        self._here = _ThreadLane(limits.threads, limits.waiting, "draft")
        self._elsewhere = _ThreadLane(limits.remote_threads, 2 * limits.remote_threads, "wait")
        self._loading = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._running: dict[int, ReplyListener] = {}
        self._holders: dict[Version, set[object]] = {}

    def draft(self, question: Ask | Embed, send: Send) -> Job | None:
        """Queue a draft or an embedding; `send` gets the reply later, or "overloaded" at once."""
        is_remote = isinstance(question, Ask) and self._fleet.is_remote(_version(question))
        lane = self._elsewhere if is_remote else self._here
        if lane.in_work >= lane.most:
            send(Failed(question.id, "specialists", "overloaded", ""))
            return None
        lane.in_work += 1
        deadline = time.monotonic() + question.budget_ms / 1_000
        listener = ReplyListener(question.id, asyncio.get_running_loop(), send)
        work = lane.pool.submit(self._draft_in_time, question, deadline, listener)

        def finish(done: _Work) -> None:
            lane.in_work -= 1
            if not done.cancelled():
                send(done.result())

        _when_done(work, finish)
        return Job(work, listener)

    def load(self, question: Load, holder: object, send: Send) -> None:
        """Load a version on behalf of `holder`, one at a time beside the drafts."""
        version = _version(question)
        self._holders.setdefault(version, set()).add(holder)
        job = self._loading.submit(self._load_now, question, version)

        def finish(done: _Work) -> None:
            if done.cancelled():
                return
            reply = done.result()
            if isinstance(reply, Failed) or holder not in self._holders.get(version, ()):
                self._release(version, holder)
            send(reply)

        _when_done(job, finish)

    def unload(self, question: Unload, holder: object, send: Send) -> None:
        """Note that `holder` needs the version no longer."""
        self._release(_version(question), holder)
        send(Done(question.id))

    def release_all(self, holder: object) -> None:
        """Note that `holder` is gone."""
        for version in [version for version, holders in self._holders.items() if holder in holders]:
            self._release(version, holder)

    async def watch(self, every_s: float = 1.0) -> None:
        """Give up once a draft is stuck: no thread can be taken back from it."""
        while True:
            await asyncio.sleep(every_s)
            silence_s = max((listener.silence_s() for listener in self._running.copy().values()), default=0.0)
            if silence_s > self._limits.stuck_s:
                logger.error("nothing has been heard of a draft for %.0f s: giving up", silence_s)
                self._give_up()

    def close(self) -> None:
        """Drop what waits; what runs is left alone."""
        for pool in (self._here.pool, self._elsewhere.pool, self._loading):
            pool.shutdown(wait=False, cancel_futures=True)

    def _release(self, version: Version, holder: object) -> None:
        holders = self._holders.get(version, set())
        holders.discard(holder)
        if not holders:
            self._holders.pop(version, None)
            self._fleet.unload(version)

    def _draft_in_time(self, question: Ask | Embed, deadline: float, listener: ReplyListener) -> Reply:
        if time.monotonic() > deadline:
            return Failed(question.id, "specialists", "late", "its time was over before its turn")
        listener.begin()
        self._running[threading.get_ident()] = listener
        try:
            return self._draft_now(question, listener)
        except SpecialistError as fault:
            return Failed(question.id, "specialists", fault.reason, "")
        except Exception as exc:
            # Only the kind: a message may quote the prompt.
            logger.error("a draft failed with %s", type(exc).__name__)
            return Failed(question.id, "specialists", "specialist failed", type(exc).__name__)
        finally:
            del self._running[threading.get_ident()]

    def _draft_now(self, question: Ask | Embed, listener: ReplyListener) -> Reply:
        if isinstance(question, Embed):
            return Embedded(question.id, self._fleet.embed(question.text))
        prediction = self._fleet.draft(_version(question), question.draft_request, listener)
        return drafted(question.id, prediction, listener.elapsed_ms())

    def _load_now(self, question: Load, version: Version) -> Reply:
        try:
            self._fleet.load(version, Path(question.folder))
        except RegistryError as exc:
            return Failed(question.id, "registry", str(exc), "")
        except Exception as exc:
            logger.exception("loading %s failed", version)
            return Failed(question.id, "registry", f"{question.folder}: {type(exc).__name__}: {exc}", "")
        return Done(question.id)


class _ThreadLane:
    """Threads for one kind of work, and how much of it has been taken on."""

    def __init__(self, threads: int, most: int, name: str) -> None:
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self.most = most
        self.in_work = 0


def _version(question: Ask | Load | Unload) -> Version:
    return Version(question.task, question.version)


def _when_done(work: _Work, finish: Callable[[_Work], None]) -> None:
    """Have `finish` called on the event loop once `work` is done or cancelled."""
    loop = asyncio.get_running_loop()

    def detach(done: _Work) -> None:
        # The loop is closed when a thread outlives the host's last moments.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(finish, done)

    work.add_done_callback(detach)
