"""The gateway's side of the model host: one connection, opened again whenever it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from gateway.core import Draft, DraftRequest
from gateway.errors import RegistryError, SpecialistError
from gateway.ipc.backoff import Backoff
from gateway.ipc.socket_path import StrangerError, connect_privately
from gateway.specialists.client.connection import HostConnection
from gateway.specialists.client.stream import HostDraftStream
from gateway.specialists.protocol import (
    MAX_DEMANDS_BYTES,
    MAX_TEXT_CHARS,
    Done,
    Drafted,
    Embedded,
    EmbedText,
    Failed,
    HostReply,
    HostRequest,
    LoadVersion,
    MakeDraft,
    Opened,
    Ping,
    UnloadVersion,
)

logger = logging.getLogger(__name__)


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Pauses and time limits of the client."""

    first_pause_s: float = 0.05
    longest_pause_s: float = 1.0
    load_timeout_s: float = 60.0
    ping_every_s: float = 2.0
    ping_timeout_s: float = 3.0
    """A host that is silent for longer counts as down, though its socket is open."""


class HostClient:
    """A Drafter that reaches the host over a Unix socket; use it in one event loop.

    Every failure is a SpecialistError with one of these reasons: "host down", "late",
    "overloaded", "version not loaded", "input too long", "input unreadable", "empty input",
    "demands too long", "specialist failed", "answer too long", or a reason of the runtime. While
    the host is down every call fails at once; a background task connects again, pings, and
    repeats the loads.
    """

    def __init__(self, socket_path: Path, config: Config | None = None) -> None:
        self._path = socket_path
        self._config = config or Config()
        self._numbers = itertools.count(1)
        self._loads: dict[tuple[str, int], Path] = {}
        self._connection: HostConnection | None = None
        self._ready = asyncio.Event()
        self._connecting: asyncio.Task[None] | None = None
        self._has_met_stranger = False

    async def open(self, wait_s: float = 0.0) -> bool:
        """Start to connect; return whether the host is ready within `wait_s`.

        Ready means connected, with all earlier loads repeated. The first call of any other
        method starts to connect as well, without waiting.
        """
        self._start_connecting()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._ready.wait()
        return self._ready.is_set()

    @property
    def is_ready(self) -> bool:
        """Whether the host answers now and has loaded the versions that it was told to."""
        return self._ready.is_set()

    @property
    def held(self) -> set[tuple[str, int]]:
        """Task and version of what the host has loaded, or is told to load as soon as it is there."""
        return set(self._loads)

    async def close(self) -> None:
        """Disconnect for good."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])

    async def load(self, task: str, version: int, folder: Path) -> None:
        """See Drafter.load. Repeated after a reconnect, even if the host is down now; not after a refusal."""
        self._loads[task, version] = folder
        await self._load(task, version, folder)

    async def unload(self, task: str, version: int) -> None:
        """Free a version that no standing names any more; never raises.

        The host keeps it as long as another gateway worker wants it.
        """
        self._loads.pop((task, version), None)
        with contextlib.suppress(SpecialistError):
            await self._send(lambda number: UnloadVersion(number, task, version), self._config.load_timeout_s)

    async def draft(self, task: str, version: int, draft_request: DraftRequest, budget_s: float) -> Draft:
        """See Drafter.draft."""
        _refuse_long(draft_request.text)
        if len(draft_request.tools) + len(draft_request.response_format) > MAX_DEMANDS_BYTES:
            raise SpecialistError("demands too long")
        connection, number = self._open_connection(), next(self._numbers)
        request = MakeDraft(number, task, version, draft_request, budget_s * 1_000)
        reply = await connection.send_request(request, budget_s)
        if not isinstance(reply, Drafted | Opened):
            raise _to_error(reply)
        prediction = reply.prediction
        return Draft(
            text=prediction.text,
            score=prediction.score,
            task=task,
            version=version,
            latency_ms=reply.latency_ms,
            is_learnt=reply.is_learnt,
            prompt_tokens=prediction.prompt_tokens,
            completion_tokens=prediction.completion_tokens,
            teacher_tokens=prediction.teacher_tokens,
            evidence=prediction.evidence,
            trace=prediction.trace,
            tokens=prediction.tokens,
            finish_reason=prediction.finish_reason,
            stream=HostDraftStream(connection, number) if isinstance(reply, Opened) else None,
        )

    async def embed(self, text: str, budget_s: float) -> bytes:
        """See Drafter.embed."""
        _refuse_long(text)
        reply = await self._send(lambda number: EmbedText(number, text, budget_s * 1_000), budget_s)
        if not isinstance(reply, Embedded):
            raise _to_error(reply)
        return reply.vector

    async def _send(self, make_request: Callable[[int], HostRequest], budget_s: float) -> HostReply:
        return await self._open_connection().send_request(make_request(next(self._numbers)), budget_s)

    def _open_connection(self) -> HostConnection:
        self._start_connecting()
        if self._connection is None:
            raise SpecialistError("host down")
        return self._connection

    async def _load(self, task: str, version: int, folder: Path) -> None:
        try:
            reply = await self._send(
                lambda number: LoadVersion(number, task, version, str(folder)), self._config.load_timeout_s
            )
            if isinstance(reply, Failed):
                raise _to_error(reply)
        except RegistryError:
            self._loads.pop((task, version), None)
            raise

    def _start_connecting(self) -> None:
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._stay_connected())

    async def _stay_connected(self) -> None:
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
            lambda: HostConnection(loop), sock=self._connect()
        )
        try:
            # A frozen host accepts connections too: only a reply proves that it is alive.
            await self._ping(connection)
            self._connection = connection
            await self._repeat_loads()
            self._ready.set()
            await self._ping_until_lost(connection)
        finally:
            self._connection = None
            self._ready.clear()
            transport.abort()

    def _connect(self) -> socket.socket:
        try:
            connected = connect_privately(self._path)
        except StrangerError as exc:
            if not self._has_met_stranger:
                logger.error("%s: %s; nothing is sent there", self._path, exc)
            self._has_met_stranger = True
            raise
        self._has_met_stranger = False
        return connected

    async def _ping_until_lost(self, connection: HostConnection) -> None:
        """Return when the connection is lost or the host is silent."""
        with contextlib.suppress(SpecialistError):
            while not await connection.is_lost_within(self._config.ping_every_s):
                await self._ping(connection)
        logger.warning("the model host is gone; the teacher answers until it is back")

    async def _ping(self, connection: HostConnection) -> None:
        reply = await connection.send_request(Ping(next(self._numbers)), self._config.ping_timeout_s)
        if not isinstance(reply, Done):
            raise _to_error(reply)

    async def _repeat_loads(self) -> None:
        for (task, version), folder in list(self._loads.items()):
            try:
                await self._load(task, version, folder)
            except RegistryError as exc:
                logger.error("a restarted model host refused %s version %d: %s", task, version, exc)


def _refuse_long(text: str) -> None:
    if len(text) > MAX_TEXT_CHARS:
        raise SpecialistError("input too long", f"{len(text)} characters")


def _to_error(reply: HostReply) -> SpecialistError | RegistryError:
    """Return the error of a reply that is not the expected one."""
    if not isinstance(reply, Failed):
        return SpecialistError("host down", f"it replied with {type(reply).__name__}")
    if reply.is_registry_error:
        return RegistryError(reply.reason)
    return SpecialistError(reply.reason, reply.detail)
