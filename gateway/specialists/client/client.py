"""The gateway's side of the model host: one connection which heals itself."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from gateway.core import Draft, DraftRequest
from gateway.errors import RegistryError, SpecialistError
from gateway.ipc.backoff import Backoff
from gateway.specialists.client.connection import HostConnection
from gateway.specialists.client.stream import HostDraftStream
from gateway.specialists.protocol import (
    MAX_DEMANDS_BYTES,
    MAX_TEXT_CHARS,
    Ask,
    Done,
    Drafted,
    Embed,
    Embedded,
    Failed,
    Load,
    Opened,
    Ping,
    Question,
    Reply,
    Unload,
)

logger = logging.getLogger(__name__)


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """How patient the client is."""

    first_pause_s: float = 0.05
    longest_pause_s: float = 1.0
    load_timeout_s: float = 60.0
    ping_every_s: float = 2.0
    ping_timeout_s: float = 3.0
    """A host which is silent for so long counts as down, though its socket is open."""


class HostClient:
    """A Drafter which reaches the host over a Unix socket; use it in one event loop.

    Whatever fails is a SpecialistError with one of these reasons: "host down", "late",
    "overloaded", "version not loaded", "input too long", "input unreadable", "empty input",
    "demands too long", "specialist failed", "answer too long", or what a runtime says. While the host is down
    every call fails at once; a task in the background connects again, pings, and repeats
    the loads.
    """

    def __init__(self, socket_path: Path, config: Config | None = None) -> None:
        self._path = socket_path
        self._config = config or Config()
        self._ids = itertools.count(1)
        self._loads: dict[tuple[str, int], Path] = {}
        self._connection: HostConnection | None = None
        self._ready = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def open(self, wait_s: float = 0.0) -> bool:
        """Start to connect; return whether the host is ready within `wait_s`.

        Ready means connected, with all loads of before repeated. The first call of any
        other method starts to connect as well, without waiting.
        """
        self._keep_connected()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._ready.wait()
        return self._ready.is_set()

    @property
    def is_ready(self) -> bool:
        """Whether the host answers now and holds what it was told to load."""
        return self._ready.is_set()

    async def close(self) -> None:
        """Disconnect for good."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])

    async def load(self, task: str, version: int, folder: Path) -> None:
        """See Drafter.load. Remembered even when the host is down, but not when it refused the files."""
        self._loads[task, version] = folder
        await self._load(task, version, folder)

    async def unload(self, task: str, version: int) -> None:
        """Free a version which no standing names any more; never raises.

        The host keeps it as long as another gateway worker wants it.
        """
        self._loads.pop((task, version), None)
        with contextlib.suppress(SpecialistError):
            await self._ask(lambda number: Unload(number, task, version), self._config.load_timeout_s)

    async def draft(self, task: str, version: int, draft_request: DraftRequest, budget_s: float) -> Draft:
        """See Drafter.draft."""
        _refuse_long(draft_request.text)
        if len(draft_request.tools) + len(draft_request.response_format) > MAX_DEMANDS_BYTES:
            raise SpecialistError("demands too long")
        connection, number = self._open_connection(), next(self._ids)
        reply = await connection.ask(Ask(number, task, version, draft_request, budget_s * 1_000), budget_s)
        if not isinstance(reply, Drafted | Opened):
            raise _unexpected(reply)
        return Draft(
            text=reply.text,
            score=reply.score,
            task=task,
            version=version,
            latency_ms=reply.latency_ms,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            evidence=reply.evidence,
            trace=reply.trace,
            tokens=reply.tokens,
            finish_reason=reply.finish_reason,
            stream=HostDraftStream(connection, number) if isinstance(reply, Opened) else None,
        )

    async def embed(self, text: str, budget_s: float) -> bytes:
        """See Drafter.embed."""
        _refuse_long(text)
        reply = await self._ask(lambda number: Embed(number, text, budget_s * 1_000), budget_s)
        if not isinstance(reply, Embedded):
            raise _unexpected(reply)
        return reply.vector

    async def _ask(self, question: Callable[[int], Question], budget_s: float) -> Reply:
        return await self._open_connection().ask(question(next(self._ids)), budget_s)

    def _open_connection(self) -> HostConnection:
        self._keep_connected()
        if self._connection is None:
            raise SpecialistError("host down")
        return self._connection

    async def _load(self, task: str, version: int, folder: Path) -> None:
        try:
            reply = await self._ask(
                lambda number: Load(number, task, version, str(folder)), self._config.load_timeout_s
            )
            if isinstance(reply, Failed):
                raise _unexpected(reply)
        except RegistryError:
            self._loads.pop((task, version), None)
            raise

    def _keep_connected(self) -> None:
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._connect_for_ever())

    async def _connect_for_ever(self) -> None:
        backoff = Backoff(self._config.first_pause_s, self._config.longest_pause_s)
        while True:
            try:
                await self._connect_once()
                backoff.reset()
            except (OSError, SpecialistError) as exc:
                logger.debug("the model host does not answer: %s", exc)
            await asyncio.sleep(backoff.next_pause_s())

    async def _connect_once(self) -> None:
        """Connect and stay until the host is lost. Raises OSError or SpecialistError if it never answered."""
        loop = asyncio.get_running_loop()
        transport, connection = await loop.create_unix_connection(
            lambda: HostConnection(loop), str(self._path)
        )
        try:
            # A frozen host accepts connections too: only its voice proves that it is alive.
            await self._ping(connection)
            self._connection = connection
            await self._repeat_loads()
            self._ready.set()
            await self._watch(connection)
        finally:
            self._connection = None
            self._ready.clear()
            transport.abort()

    async def _watch(self, connection: HostConnection) -> None:
        """Return when the line is lost or the host is silent."""
        with contextlib.suppress(SpecialistError):
            while not await connection.is_lost_within(self._config.ping_every_s):
                await self._ping(connection)
        logger.warning("the model host is gone; the teacher answers until it is back")

    async def _ping(self, connection: HostConnection) -> None:
        reply = await connection.ask(Ping(next(self._ids)), self._config.ping_timeout_s)
        if not isinstance(reply, Done):
            raise _unexpected(reply)

    async def _repeat_loads(self) -> None:
        for (task, version), folder in list(self._loads.items()):
            try:
                await self._load(task, version, folder)
            except RegistryError as exc:
                logger.error("a restarted model host refused %s version %d: %s", task, version, exc)


def _refuse_long(text: str) -> None:
    if len(text) > MAX_TEXT_CHARS:
        raise SpecialistError("input too long", f"{len(text)} characters")


def _unexpected(reply: Reply) -> SpecialistError | RegistryError:
    if not isinstance(reply, Failed):
        return SpecialistError("host down", f"it replied with {type(reply).__name__}")
    if reply.room == "registry":
        return RegistryError(reply.reason)
    return SpecialistError(reply.reason, reply.detail)
