"""The admin process: metrics, status, decisions and changes for operators, beside the workers.

What it reads may take seconds (a report over a million decisions), and costs no request anything: it
shares neither an event loop nor an interpreter with them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import uvicorn

from gateway.api.admin.app import create_admin
from gateway.api.foreign_pages import guard_site
from gateway.api.http import edge
from gateway.api.http.connections import Connections
from gateway.config.addresses import is_loopback
from gateway.ipc.child_process import exit_with_parent, run_child
from gateway.ipc.heartbeat import Heart
from gateway.ipc.priority import lower_priority
from gateway.processes.admin_plane import GatewayAdmin
from gateway.processes.http_server import create_loop, create_server, open_listeners
from gateway.processes.inventory import GatewayInventory
from gateway.settings import read_configuration
from gateway.store.state import open_state
from gateway.telemetry.logs import configure_logging

# Its answers take milliseconds, reports some seconds.
DRAIN_S = 1
THREADS = 16
# Behind the workers, where cores are few: a report may take seconds of CPU. A request that wakes a worker
# then takes the core from it at once; at 5, one of three waits for the end of a slice, some 3 ms. Beside
# busy workers a tenth of a core is left, enough for a scrape or a freeze.
NICENESS = 10


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM, or until the parent is gone."""
    parser = argparse.ArgumentParser(prog="gateway.processes.admin", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="the listening socket")
    parser.add_argument("--sum-fds", required=True, help="the files of all workers' sums")
    parser.add_argument("--admission", required=True, help="the clients that the workers let in")
    options = parser.parse_args(arguments)
    configuration = read_configuration(os.environ)
    settings = configuration.settings
    configure_logging(is_json=settings.server.log_format == "json")
    exit_with_parent()
    with open_state(settings.home) as state:
        sums = [int(file) for file in options.sum_fds.split(",")]
        plane = GatewayAdmin(settings, state, sums, admission=options.admission)
        inventory = GatewayInventory(configuration, state, admission=options.admission)
        app = create_admin(plane, inventory, is_loopback=is_loopback(settings.server.admin_host))
        site = guard_site(app, settings.server.names)  # type: ignore[arg-type]
        server = create_server(site, Connections(settings.edge, edge.ADMIN_CONNECTIONS), DRAIN_S)
        lower_priority(NICENESS)
        with asyncio.Runner(loop_factory=create_loop) as runner:
            runner.run(_serve(server, options.fd))


async def _serve(server: uvicorn.Server, file: int) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="admin"))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _ask_to_end, server)
    beating = asyncio.create_task(Heart(os.environ).keep_beating())
    try:
        await server.serve(open_listeners(file))
    finally:
        beating.cancel()


def _ask_to_end(server: uvicorn.Server) -> None:
    server.should_exit = True


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        run_child(main)
