"""The model host's server: one queue of work behind a Unix socket."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from gateway.ipc.heartbeat import Heart
from gateway.ipc.socket_path import listen_privately
from gateway.specialists.encoders import create_encoder
from gateway.specialists.engine.pool import EnginePool
from gateway.specialists.host.connection import WorkerConnection
from gateway.specialists.host.loaded_models import LoadedModels
from gateway.specialists.host.work_queue import QueueLimits, WorkQueue
from gateway.specialists.remote.config import EngineConfig
from gateway.specialists.remote.pool import RemoteEngines
from gateway.specialists.shared_resources import SharedResources


def create_work_queue(
    encoder: str, encoder_config: str, models: Path, memory_mb: int, engines: str = "{}"
) -> WorkQueue:
    """Return the queue of a host; its specialists share encoder, bases and the `engines` elsewhere.

    Raises ConfigError or RegistryError as `create_encoder` does.
    """
    resources = SharedResources(
        create_encoder(encoder, encoder_config),
        EnginePool(models, memory_mb),
        RemoteEngines(msgspec.json.decode(engines, type=dict[str, EngineConfig])),
    )
    return WorkQueue(LoadedModels(resources, memory_mb), QueueLimits())


async def serve_workers(path: Path, work_queue: WorkQueue) -> None:
    """Answer on the Unix socket at `path`, open to this user only, until SIGTERM."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    async with AsyncExitStack() as stack:
        listener = listen_privately(path)
        server = await loop.create_unix_server(lambda: WorkerConnection(work_queue), sock=listener)
        stack.callback(work_queue.close)
        stack.callback(server.close)
        stack.callback(asyncio.create_task(work_queue.watch()).cancel)
        stack.callback(asyncio.create_task(Heart(os.environ).keep_beating()).cancel)
        await stopped.wait()
