"""The model host's bounded queue of work: requests in, replies out, threads in between."""

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
from gateway.specialists.host.listener import ReplyListener, SendReply
from gateway.specialists.host.loaded_models import LoadedModels, Version
from gateway.specialists.protocol import (
    Done,
    Drafted,
    Embedded,
    EmbedText,
    Failed,
    HostReply,
    LoadVersion,
    MakeDraft,
    UnloadVersion,
)

logger = logging.getLogger(__name__)

_Work = Future[HostReply]


class Job:
    """A draft or an embedding that may be cancelled, in the queue or at work."""

    def __init__(self, work: _Work, listener: ReplyListener) -> None:
        self._work = work
        self._listener = listener

    def cancel(self) -> bool:
        """Drop the job if it waits, tell its runtime if it runs; return whether it had not begun."""
        self._listener.cancel()
        return self._work.cancel()


class QueueLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the work that is accepted."""

    threads: int = 2
    waiting: int = 64
    """Drafts and embeddings at work or in the queue; about 150 ms of work at 4 ms each."""
    remote_threads: int = 32
    """Threads that wait for drafts of another process; twice as many drafts are accepted."""
    stuck_s: float = 20.0
    """A draft that has sent nothing for longer will never end; the host ends instead and is started
    again. A long streamed answer may take its time."""


class WorkQueue:
    """Carries out requests; its methods belong to the event loop's thread.

    A version stays loaded as long as some holder (a connection) wants it, so that one
    gateway worker cannot take it away from another.
    """

    def __init__(
        self,
        models: LoadedModels,
        limits: QueueLimits,
        give_up: Callable[[], object] = lambda: os._exit(70),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`give_up` ends the process when a draft is stuck; `clock` returns seconds."""
        self._models = models
        self._limits = limits
        self._give_up = give_up
        self._clock = clock
        self._local = _ThreadLane(limits.threads, limits.waiting, "draft")
        self._remote = _ThreadLane(limits.remote_threads, 2 * limits.remote_threads, "wait")
        # One file is read at a time, so a second thread would only wait for the first.
        self._cold = _ThreadLane(1, limits.waiting, "cold")
        self._loading = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._running: dict[int, ReplyListener] = {}
        self._holders: dict[Version, set[object]] = {}

    def submit_draft(self, request: MakeDraft | EmbedText, send: SendReply) -> Job | None:
        """Queue a draft or an embedding; `send` gets the reply later, or "overloaded" at once."""
        lane = self._choose_lane(request)
        if lane.accepted >= lane.capacity:
            send(Failed(request.id, "overloaded"))
            return None
        lane.accepted += 1
        deadline = self._clock() + request.budget_ms / 1_000
        listener = ReplyListener(request.id, asyncio.get_running_loop(), send, self._clock)
        work = lane.pool.submit(self._draft_in_time, request, deadline, listener)

        def finish(done: _Work) -> None:
            lane.accepted -= 1
            if not done.cancelled():
                send(done.result())

        _call_when_done(work, finish)
        return Job(work, listener)

    def load_version(self, request: LoadVersion, holder: object, send: SendReply) -> None:
        """Load a version on behalf of `holder`, one at a time, beside the drafts."""
        version = _version(request)
        self._holders.setdefault(version, set()).add(holder)
        work = self._loading.submit(self._load_now, request, version)

        def finish(done: _Work) -> None:
            if done.cancelled():
                return
            reply = done.result()
            if isinstance(reply, Failed) or holder not in self._holders.get(version, ()):
                self._release(version, holder)
            send(reply)

        _call_when_done(work, finish)

    def unload_version(self, request: UnloadVersion, holder: object, send: SendReply) -> None:
        """Note that `holder` needs the version no longer."""
        self._release(_version(request), holder)
        send(Done(request.id))

    def release_versions(self, holder: object) -> None:
        """Note that `holder` is gone and needs no version any more."""
        for version in [version for version, holders in self._holders.items() if holder in holders]:
            self._release(version, holder)

    async def watch(self, every_s: float = 1.0) -> None:
        """Give up once a draft is stuck: a thread cannot be taken back from it."""
        while True:
            await asyncio.sleep(every_s)
            silence_s = max((listener.silence_s() for listener in self._running.copy().values()), default=0.0)
            if silence_s > self._limits.stuck_s:
                logger.error("a draft has sent nothing for %.0f s: the host gives up", silence_s)
                self._give_up()

    def close(self) -> None:
        """Drop the work that waits; running drafts are left alone."""
        for pool in (self._local.pool, self._remote.pool, self._cold.pool, self._loading):
            pool.shutdown(wait=False, cancel_futures=True)

    def _choose_lane(self, request: MakeDraft | EmbedText) -> _ThreadLane:
        """Return the threads for `request`: what is in memory now waits for no files of others."""
        if isinstance(request, EmbedText):
            return self._local
        version = _version(request)
        if self._models.has_left_memory(version):
            return self._cold
        return self._remote if self._models.is_remote(version) else self._local

    def _release(self, version: Version, holder: object) -> None:
        holders = self._holders.get(version, set())
        holders.discard(holder)
        if not holders:
            self._holders.pop(version, None)
            self._models.unload(version)

    def _draft_in_time(
        self, request: MakeDraft | EmbedText, deadline: float, listener: ReplyListener
    ) -> HostReply:
        if self._clock() > deadline:
            return Failed(request.id, "late", "its time was over before its turn")
        listener.start_clock()
        self._running[threading.get_ident()] = listener
        try:
            return self._draft_now(request, listener)
        except SpecialistError as exc:
            return Failed(request.id, exc.reason)
        except Exception as exc:
            # Only the type: a message may quote the prompt.
            logger.error("a draft failed with %s", type(exc).__name__)
            return Failed(request.id, "specialist failed", type(exc).__name__)
        finally:
            del self._running[threading.get_ident()]

    def _draft_now(self, request: MakeDraft | EmbedText, listener: ReplyListener) -> HostReply:
        if isinstance(request, EmbedText):
            return Embedded(request.id, self._models.embed(request.text))
        version = _version(request)
        listener.is_learnt = self._models.has_learnt(version, request.draft_request.text)
        prediction = self._models.draft(version, request.draft_request, listener)
        return Drafted(request.id, prediction, listener.elapsed_ms(), listener.is_learnt)

    def _load_now(self, request: LoadVersion, version: Version) -> HostReply:
        try:
            self._models.load(version, Path(request.folder))
        except RegistryError as exc:
            return Failed(request.id, str(exc), is_registry_error=True)
        except Exception as exc:
            logger.exception("loading %s failed", version)
            reason = f"{request.folder}: {type(exc).__name__}: {exc}"
            return Failed(request.id, reason, is_registry_error=True)
        return Done(request.id)


class _ThreadLane:
    """The threads for one kind of work, and how much of it was accepted."""

    def __init__(self, threads: int, capacity: int, name: str) -> None:
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self.capacity = capacity
        self.accepted = 0


def _version(request: MakeDraft | LoadVersion | UnloadVersion) -> Version:
    return Version(request.task, request.version)


def _call_when_done(work: _Work, finish: Callable[[_Work], None]) -> None:
    """Call `finish` on the event loop once `work` is done or cancelled."""
    loop = asyncio.get_running_loop()

    def call_soon(done: _Work) -> None:
        # The loop is closed when a thread outlives the host's last moments.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(finish, done)

    work.add_done_callback(call_soon)
