"""`stepdown serve`: binds the sockets, then keeps workers, learner and model host alive."""

from __future__ import annotations

import fcntl
import http.client
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

from gateway.config.plugins import check_plugin
from gateway.errors import ConfigError
from gateway.ipc.child_process import REFUSED, Child, stop_children, supervise_children
from gateway.policy.load import load_policies
from gateway.processes.child_plans import plan_children
from gateway.processes.own_address import refuse_own_address
from gateway.processes.teachers import require_credentials
from gateway.settings import Settings
from gateway.store.health import check_home
from gateway.store.home import Home, read_machine_name
from gateway.store.run_file import RunFile, write_run_file
from gateway.store.shared_counters import Counters, create_counters
from gateway.store.state import open_state
from gateway.telemetry.restarts import RestartCounter
from gateway.telemetry.shared_sums import SharedSums, create_sum_files

logger = logging.getLogger(__name__)

BACKLOG = 2048
READY_POLL_S = 0.02
READY_LIMIT_S = 60.0
"""Then people are told that it takes long, and workers are asked less often."""
LATE_POLL_S = 1.0
RUN_FILE_RETRY_S = 1.0

Announce = Callable[[RunFile], None]
"""Called once, when the first worker answers."""


def run_supervisor(settings: Settings, environment: Mapping[str, str], announce: Announce) -> int:
    """Run the gateway until SIGTERM or SIGINT; return the exit code.

    `environment` is added to ours for the children: flags as STEPDOWN_* variables.
    Raises ConfigError when an extension is unknown, a policy is wrong, a port is taken, the home cannot be
    used, or another gateway uses it.
    """
    _check_extensions(settings)
    # Each of the children reads them, and each would say what is wrong.
    load_policies(settings.policies.folder)
    home = settings.home
    require_credentials(settings)
    home.make_for_gateway()
    with ExitStack() as stack:
        stack.enter_context(_lock_home(home))
        check_home(home)
        server = settings.server
        # The process that shares the state writes in a column of its own.
        _create_counters(home, server.workers + settings.state.is_shared)
        _prepare_sharing(settings)
        public = stack.enter_context(_bind_public(settings))
        [admin] = stack.enter_context(_bind_all(server.admin_host, server.admin_port))
        admin.listen(BACKLOG)
        sums = create_sum_files(server.workers + 1, home.folder)  # the last is the supervisor's own
        for teacher in settings.teachers or (settings.upstream,):
            refuse_own_address(teacher.base_url, [public[0], admin])
        plans = plan_children(settings, environment, public, admin, sums)
        children = [Child(plan) for plan in plans]
        counter = RestartCounter(SharedSums(sums, server.workers))
        home.run_file.unlink(missing_ok=True)
        stack.callback(home.run_file.unlink, missing_ok=True)
        stop, hurry = _catch_signals()
        waiting = threading.Thread(
            target=_announce_when_ready, args=(public[0], admin, home, announce, stop), daemon=True
        )
        waiting.start()
        try:
            supervise_children(children, stop.is_set, lambda: counter.show(children))
        finally:
            stop.set()
            door = _Door([*public, admin], time.monotonic() + server.drain_delay_s)
            stop_children(children, hurry.is_set, door.close_in_time)
        waiting.join()
    return REFUSED if any(child.has_refused for child in children) else 0


def _check_extensions(settings: Settings) -> None:
    """Refuse unknown names before anything listens; their options are read by the children."""
    for recipe in settings.learn.recipes if settings.learn.enabled else ():
        check_plugin("gateway.distill.recipes", recipe)
    check_plugin("gateway.specialists.encoders", settings.specialists.encoder)
    check_plugin("gateway.upstream.providers", settings.upstream.provider)
    for classifier in settings.routing.classifiers:
        check_plugin("gateway.routing.classifiers", classifier)


class _Door:
    """The sockets of the workers, as this process holds them."""

    def __init__(self, sockets: Sequence[socket.socket], close_at: float) -> None:
        self._sockets = sockets
        self._close_at = close_at

    def close_in_time(self) -> None:
        """Close them when the workers do: what one that stays open takes in would wait for nothing."""
        if time.monotonic() >= self._close_at:
            for one in self._sockets:
                one.close()


def _catch_signals() -> tuple[threading.Event, threading.Event]:
    """Return what the first SIGTERM or SIGINT sets, and what the second sets; SIGHUP does nothing."""
    stop, hurry = threading.Event(), threading.Event()

    def note(*_: object) -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)
    # The children inherit it. No setting is read twice, so there is nothing to read again.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return stop, hurry


def _create_counters(home: Home, workers: int) -> None:
    try:
        create_counters(home.counters, workers)
    except ConfigError as exc:
        # A full disk costs the exactness of limits, not answers.
        print(f"stepdown: {exc}; limits are counted in each worker alone", file=sys.stderr)


def _prepare_sharing(settings: Settings) -> None:
    """Begin to note what this machine changes, or end it where the state is shared no more."""
    home, is_shared = settings.home, settings.state.is_shared
    if not is_shared and not home.machine.exists():
        return
    from gateway.sharing.contact import Contact
    from gateway.sharing.outgoing import Outgoing, stop_noting
    from gateway.sharing.valkey import import_client

    if is_shared:
        import_client()
        read_machine_name(home)
        # Makes its cells: a process that only reads finds none that comes after it.
        counters = Counters(home.counters, settings.server.workers)
        Contact(counters, settings.state)
        counters.close()
    with open_state(home) as state:
        if is_shared:
            Outgoing(state.database)
        else:
            stop_noting(state.database)
            for file in (home.shared_state, home.machine):
                file.unlink(missing_ok=True)


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
def _bind_public(settings: Settings) -> Iterator[list[socket.socket]]:
    """Give the sockets of the workers; one machine alone keeps early connections waiting for its start.

    Among several, a balancer may not have noticed that this one was away. It is refused until the worker
    listens, which is when specialists are loaded, and asks another machine.
    """
    server = settings.server
    with _bind_all(server.host, server.port, server.workers) as public:
        for one in () if settings.state.is_shared else public:
            one.listen(BACKLOG)
        yield public


@contextmanager
def _bind_all(host: str, port: int, count: int = 1) -> Iterator[list[socket.socket]]:
    """Give `count` sockets on one port; port 0 takes a free one.

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
    """Call `announce` once a worker says that it is ready, and write the run file.

    However long that takes: a new machine among several waits until it reaches the others.
    """
    say_at, pause_s = time.monotonic() + READY_LIMIT_S, READY_POLL_S
    while not _is_ready(public):
        if stop.wait(pause_s):
            return
        if pause_s == READY_POLL_S and time.monotonic() > say_at:
            print("stepdown: no worker is ready yet; see the log above", file=sys.stderr)
            pause_s = LATE_POLL_S
    run = RunFile(pid=os.getpid(), url=_url(public), admin_url=_url(admin))
    with suppress(OSError):
        announce(run)
    _write_run_file(home, run, stop)


def _write_run_file(home: Home, run: RunFile, stop: threading.Event) -> None:
    """Write the run file as soon as the disk takes it: a full one keeps no gateway from serving."""
    is_failing = False
    while not stop.is_set():
        try:
            return write_run_file(home, run)
        except OSError as exc:
            if not is_failing:
                logger.error("%s cannot be written and is tried again: %s", home.run_file, exc.strerror)
            is_failing = True
        stop.wait(RUN_FILE_RETRY_S)
    return None


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
