"""The model host: the process that owns every local model and drafts for all gateway workers."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from gateway.errors import RegistryError
from gateway.ipc.child_process import exit_with_parent, run_child

# The gateway comes first: a late draft costs money, a late gateway costs every client's time.
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
    parser.add_argument("--encoder-config", default="{}", help="settings of the encoder, a JSON object")
    parser.add_argument("--models", required=True, type=Path, help="folder of the pulled base models")
    parser.add_argument(
        "--memory-mb", default=1024, type=int, help="memory limit of a generative engine, and of all others"
    )
    parser.add_argument("--engines", default="{}", help="engines elsewhere by name, a JSON object")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    exit_with_parent()
    os.nice(_NICENESS)
    _limit_threads_and_memory()
    # Not at the top: it loads numpy and onnxruntime, and they read those limits when they are loaded.
    from gateway.specialists.host.server import create_work_queue, serve_workers

    try:
        work_queue = create_work_queue(
            options.encoder, options.encoder_config, options.models, options.memory_mb, options.engines
        )
    except RegistryError as exc:
        sys.exit(f"the model host cannot start: {exc}")
    _tune_collector()
    try:
        asyncio.run(serve_workers(options.socket, work_queue))
    except OSError as exc:
        # Its disk may be full or read-only by now; the supervisor tries again.
        sys.exit(f"the model host cannot listen: {exc}")
    # Not a plain return: a draft that hangs in its thread would keep the interpreter from ending.
    os._exit(0)


def _limit_threads_and_memory() -> None:
    # The drafting threads use the cores; a pool of threads inside BLAS would compete for them.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # glibc would keep what onnxruntime frees after loading and, in a heap per thread, after long
    # inputs: 256 MB resident under load, with these limits 191 MB at the same speed. It must be
    # told before onnxruntime starts a thread: it counts its heaps once. Other C libraries have no
    # such function.
    with suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_FREE_BYTES)


def _tune_collector() -> None:
    # Drafts leave no cycles behind, but a full collection looks at all that was loaded, and stops all
    # drafts for that: with 100 heads for 35 ms. With these thresholds it comes after millions of drafts.
    gc.set_threshold(20_000, 20, 50)


if __name__ == "__main__":
    run_child(main)
