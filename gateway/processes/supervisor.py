"""`stepdown serve`: binds the sockets, then keeps workers, learner and model host alive."""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from gateway.errors import ConfigError
from gateway.ipc.child_process import REFUSED, Child, ChildPlan, supervise_children
from gateway.settings import Settings
from gateway.store.home import Home
from gateway.store.run_file import RunFile, write_run_file
from gateway.store.shared_counters import create_counters

BACKLOG = 2048
READY_POLL_S = 0.02
READY_LIMIT_S = 60.0

Announce = Callable[[RunFile], None]
"""Called once, when the first worker answers."""


def run_supervisor(settings: Settings, environment: Mapping[str, str], announce: Announce) -> int:
    """Run the gateway until SIGTERM or SIGINT; return the exit code.

    `environment` is added to ours for the children: flags as STEPDOWN_* variables.
    Raises ConfigError when a port is taken, the home cannot be used, or another gateway uses it.
    """
    home = settings.home
    home.make()
    with ExitStack() as stack:
        stack.enter_context(_lock_home(home))
        server = settings.server
        _create_counters(home, server.workers)
        public = stack.enter_context(_listen(server.host, server.port, server.workers))
        [admin] = stack.enter_context(_listen(server.admin_host, server.admin_port))
        children = [Child(plan) for plan in _plan_children(settings, environment, public, admin)]
        home.run_file.unlink(missing_ok=True)
        stack.callback(home.run_file.unlink, missing_ok=True)
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        waiting = threading.Thread(
            target=_announce_when_ready, args=(public[0], admin, home, announce, stop), daemon=True
        )
        waiting.start()
        supervise_children(children, stop.is_set)
        stop.set()
        waiting.join()
    return REFUSED if any(child.has_refused for child in children) else 0


def _plan_children(
    settings: Settings, environment: Mapping[str, str], public: Sequence[socket.socket], admin: socket.socket
) -> Iterator[ChildPlan]:
    """Yield the children in the order of start and stop: workers before what they use."""
    home = settings.home
    shutil.rmtree(home.metrics, ignore_errors=True)
    home.metrics.mkdir()
    for number, listener in enumerate(public):
        # One worker serves the admin plane for all: they share their sums through files.
        extra = ["--admin-fd", str(admin.fileno())] if number == 0 else []
        yield ChildPlan(
            name=f"worker {number}",
            module="gateway.processes.worker",
            arguments=["--number", str(number), "--fd", str(listener.fileno()), *extra],
            inherited_fds=[listener.fileno(), *([admin.fileno()] if extra else [])],
            environment={**environment, "PROMETHEUS_MULTIPROC_DIR": str(home.metrics)},
            stop_grace_s=15.0,
        )
    if settings.learn.enabled and settings.harvest.enabled:
        yield ChildPlan(
            name="learner", module="gateway.processes.learner", environment=environment, stop_grace_s=15.0
        )
    specialists = settings.specialists
    yield ChildPlan(
        name="model host",
        module="gateway.specialists.host.process",
        arguments=[
            "--socket", str(home.host_socket), "--encoder", specialists.encoder,
            "--encoder-config", json.dumps(specialists.encoder_options),
            "--models", str(home.models), "--memory-mb", str(specialists.memory_mb),
        ],
        environment=environment,
        stop_grace_s=3.0,
    )  # fmt: skip


def _create_counters(home: Home, workers: int) -> None:
    try:
        create_counters(home.counters, workers)
    except ConfigError as exc:
        # A full disk costs the exactness of limits, not answers.
        print(f"stepdown: {exc}; limits are counted in each worker alone", file=sys.stderr)


@contextmanager
def _lock_home(home: Home) -> Iterator[None]:
    """Hold the home's lock; the kernel frees it however this process ends."""
    with home.lock.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise ConfigError(
                f"another stepdown serves from {home.folder}; stop it, or set STEPDOWN_HOME to another folder"
            ) from exc
        yield


@contextmanager
def _listen(host: str, port: int, count: int = 1) -> Iterator[list[socket.socket]]:
    """Give `count` listening sockets on one port; port 0 takes a free one.

    The kernel spreads connections evenly over sockets, but not over the processes of one socket:
    with two workers on one socket, one of them took up to nine tenths.
    """
    with ExitStack() as stack:
        try:
            only = stack.enter_context(_bind(host, port))
            listeners = [only]
            if count > 1:
                # Any process of this user may join a shared port. The unshared socket shows that none has it.
                port = only.getsockname()[1]
                only.close()
                listeners = [stack.enter_context(_bind(host, port, is_shared=True)) for _ in range(count)]
        except OSError as exc:
            raise ConfigError(f"cannot listen on {host} port {port}: {exc.strerror}") from exc
        for listener in listeners:
            listener.listen(BACKLOG)
        yield listeners


def _bind(host: str, port: int, *, is_shared: bool = False) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if is_shared:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind((host.strip("[]"), port))
    except OSError:
        bound.close()
        raise
    return bound


def _announce_when_ready(
    public: socket.socket, admin: socket.socket, home: Home, announce: Announce, stop: threading.Event
) -> None:
    """Write the run file and call `announce` once a worker says that it is ready."""
    give_up_at = time.monotonic() + READY_LIMIT_S
    while not _is_ready(public):
        if stop.wait(READY_POLL_S):
            return
        if time.monotonic() > give_up_at:
            print("stepdown: no worker became ready; see the log above", file=sys.stderr)
            return
    run = RunFile(pid=os.getpid(), url=_url(public), admin_url=_url(admin))
    write_run_file(home, run)
    announce(run)


def _is_ready(listener: socket.socket) -> bool:
    connection = http.client.HTTPConnection(*_local_address(listener), timeout=1)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _url(listener: socket.socket) -> str:
    host, port = _local_address(listener)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _local_address(listener: socket.socket) -> tuple[str, int]:
    """Return host and port for clients on this machine."""
    host, port = listener.getsockname()[:2]
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104 - names, not binds
