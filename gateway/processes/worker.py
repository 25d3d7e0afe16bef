"""A gateway worker process: serves HTTP on the sockets that the supervisor bound."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import uvicorn

from gateway.api.app import create_app
from gateway.api.auth import Authenticator
from gateway.api.dependencies import ApiDependencies
from gateway.api.http.body import FORM_BYTES, LONGEST_UPLOAD_S, BodyLimit, BodyLimits
from gateway.api.http.connections import Connections
from gateway.api.http.memory import MemoryBudget
from gateway.api.in_flight import InFlight
from gateway.api.shedding import Shedding
from gateway.api.websocket import create_websockets
from gateway.ipc.child_process import exit_with_parent, run_child
from gateway.ipc.heartbeat import Heart
from gateway.ipc.priority import wake_at_once
from gateway.processes.assembly import GatewayWorker
from gateway.processes.drain import LAST_WORDS_S, Drain
from gateway.processes.following import Following
from gateway.processes.http_server import create_loop, create_server, open_listeners
from gateway.processes.neighbors import NeighborWatch
from gateway.settings import Settings, read_settings
from gateway.store.state import open_state
from gateway.telemetry.logs import configure_logging
from gateway.telemetry.shared_sums import SharedSums

# A slow disk holds up its threads; the look-ups of names must still find free ones.
THREADS = 32
# malloc.h of glibc; setting it at all turns its own adjustment off.
_M_MMAP_THRESHOLD = -3
_MMAP_THRESHOLD_BYTES = 1 << 20


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM, or until the parent is gone."""
    parser = argparse.ArgumentParser(prog="gateway.processes.worker", description=__doc__)
    parser.add_argument("--number", type=int, required=True, help="the number of this worker, from 0")
    parser.add_argument("--fd", type=int, required=True, help="the listening socket")
    parser.add_argument("--neighbor-fds", default="", help="the listening sockets of the other workers")
    parser.add_argument("--sum-fds", required=True, help="the files of all workers' sums")
    parser.add_argument("--instance", required=True, help="the name of this gateway to other gateways")
    options = parser.parse_args(arguments)
    settings = read_settings(os.environ)
    configure_logging(is_json=settings.server.log_format == "json")
    wake_at_once()
    exit_with_parent()
    sums = SharedSums(_read_files(options.sum_fds), options.number)
    drain = Drain(settings.server.drain_delay_s, settings.server.drain_s)
    with open_state(settings.home) as state:
        worker = GatewayWorker(settings, state, options.number, sums=sums, instance=options.instance)
        deps = _create_dependencies(settings, worker, drain, options.instance)
        public = Connections(settings.edge, pressure=deps.in_flight, shed=Shedding(deps))
        # Past the drain's own end: what does not even take its last words is cut by the server.
        drain_s = drain.limit_s + LAST_WORDS_S
        server = create_server(create_app(deps), public, drain_s, create_websockets(deps))
        if options.number == 0:
            # One worker exports the sums of all.
            worker.exporters.start_push(worker.metrics)
        _tune_collector()
        _tune_allocator()
        with asyncio.Runner(loop_factory=create_loop) as runner:
            runner.run(_serve(worker, server, options.fd, _read_files(options.neighbor_fds), drain))


def _read_files(numbers: str) -> list[int]:
    return [int(number) for number in numbers.split(",") if number]


async def _serve(
    worker: GatewayWorker, server: uvicorn.Server, fd: int, neighbor_fds: Sequence[int], drain: Drain
) -> None:
    """Serve until the server is drained."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="blocking"))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, drain.begin)
    await worker.start()
    beside = [asyncio.create_task(Heart(os.environ).keep_beating())]
    beside.append(asyncio.create_task(drain.end_server(server)))
    if neighbor_fds:
        beside.append(asyncio.create_task(NeighborWatch(neighbor_fds).take_in(server)))
    try:
        if await may_listen(fd, worker.following, drain):
            await server.serve(open_listeners(fd))
    finally:
        await worker.stop()
        for task in beside:
            task.cancel()


async def may_listen(fd: int, following: Following, drain: Drain) -> bool:
    """Return true once the worker should listen on `fd`, and false if it is asked to end before that.

    In place of a worker that died it does at once: connections wait on that socket already.
    """
    with socket.socket(fileno=os.dup(fd)) as listener:
        if listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return True
    waiting = [asyncio.create_task(each) for each in (following.wait_until_warm(), drain.wait_until_begun())]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    return not drain.has_begun


def _create_dependencies(
    settings: Settings, worker: GatewayWorker, drain: Drain, instance: str
) -> ApiDependencies:
    server = settings.server
    chat = BodyLimit(max_bytes=server.max_body_mb << 20, total_s=server.body_timeout_s)
    upload = BodyLimit(max_bytes=(server.max_upload_mb << 20) + FORM_BYTES, total_s=LONGEST_UPLOAD_S)
    return ApiDependencies(
        serve=worker.serve,
        pass_through=worker.pass_through,
        open_tunnel=worker.open_tunnel,
        authenticator=Authenticator(settings.admission, worker.following.find_key, worker.keys.look_up),
        limits=BodyLimits(chat=chat, upload=upload),
        own_models=worker.own_models,
        is_ready=lambda: worker.following.is_ready and not drain.has_begun,
        wait_until_closing=drain.wait_until_closing,
        instance=instance.encode(),
        in_flight=InFlight(settings.edge.requests, is_shared=not server.open),
        memory=MemoryBudget(settings.edge.bodies_mb << 20),
        names=server.names,
        show_labels=server.labels,
        has_own_key=settings.upstream.api_key is not None,
        key_limits=worker.keys.limits,
        open_work=worker.keys.open_work,
        put_feedback=worker.take_feedback,
        count_refusal=worker.metrics.refusals.count,
        record_refusal=worker.record_refusal,
    )


def _tune_collector() -> None:
    """Let the garbage collector run less often, and never over objects as old as the process.

    Requests leave next to no cycles behind, but open streams hold many objects, and a collection
    stops them all: at 2,000 streams the p99 of a chunk's delay was 1.9 to 73 ms, now it is 0.9 to 3.9.
    To freeze alone is worse: a full collection follows growth by a quarter, and that then comes sooner.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _tune_allocator() -> None:
    """Let glibc give large blocks back to the system when they are freed.

    With the first large block that is freed, it would take later ones from its heap, where they stay:
    after 12 bodies of 31 MB the process kept 1 GB.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        run_child(main)
