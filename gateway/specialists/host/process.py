"""The model host: the process which owns every local model and drafts for all gateway workers."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.errors import RegistryError
from gateway.ipc.child_process import exit_with_parent, run_child

if TYPE_CHECKING:
    from gateway.specialists.host.work_queue import WorkQueue

# The gateway comes first: a late draft costs money, a late gateway costs everybody's time.
_NICENESS = 10

# From glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_ARENA_MAX = -8
_KEPT_FREE_BYTES = 4 << 20


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM, or until stdin closes because the parent is gone."""
    parser = argparse.ArgumentParser(prog="gateway.specialists.host.process", description=__doc__)
    parser.add_argument("--socket", required=True, type=Path, help="path of the Unix socket to listen on")
    parser.add_argument("--encoder", default="minilm", help="file name in specialists/encoders/")
    parser.add_argument("--encoder-config", default="{}", help="the encoder's own settings, a JSON object")
    parser.add_argument("--models", required=True, type=Path, help="folder of the pulled base models")
    parser.add_argument("--memory-mb", default=1024, type=int, help="most memory of a generative engine")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    exit_with_parent()
    os.nice(_NICENESS)
    try:
        work_queue = _workbench(options)
    except RegistryError as exc:
        sys.exit(f"the model host cannot start: {exc}")
    asyncio.run(serve(options.socket, work_queue))
    # Not a plain return: a runtime which hangs in its thread would keep the interpreter from ending.
    os._exit(0)


async def serve(path: Path, work_queue: WorkQueue) -> None:
    """Answer on the Unix socket at `path`, open to this user only, until SIGTERM."""
    from gateway.specialists.host.connection import Connection

    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    async with AsyncExitStack() as stack:
        previous = os.umask(0o177)
        try:
            server = await loop.create_unix_server(lambda: Connection(work_queue), path, backlog=256)
        finally:
            os.umask(previous)
        stack.callback(work_queue.close)
        stack.callback(server.close)
        stack.callback(asyncio.create_task(work_queue.watch()).cancel)
        await stopped.wait()


def _workbench(options: argparse.Namespace) -> WorkQueue:
    # Before numpy is loaded: the drafting threads use the cores, a pool inside BLAS would
    # fight them for the same ones.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Before onnxruntime starts a thread: glibc counts its heaps only once.
    _give_memory_back()
    from gateway.specialists.base import SharedResources
    from gateway.specialists.encoding import create_encoder
    from gateway.specialists.engine.pool import EnginePool
    from gateway.specialists.host.loaded_models import LoadedModels
    from gateway.specialists.host.work_queue import Limits, WorkQueue

    encoder = create_encoder(options.encoder, options.encoder_config)
    return WorkQueue(
        LoadedModels(SharedResources(encoder, EnginePool(options.models, options.memory_mb))), Limits()
    )


def _give_memory_back() -> None:
    # glibc would keep what onnxruntime frees after loading and, a heap for each thread, after
    # long inputs: 256 MB resident under load, with this 191 MB at the same speed. Other C
    # libraries have no such function.
    with suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_FREE_BYTES)


if __name__ == "__main__":
    run_child(main)
