"""A running gateway on given cores, and the CPU and memory of its processes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.config.plugins import load_plugin
from gateway.ipc.child_process import end_process
from loadtests.peers.base import Place, Plan
from loadtests.support.processes import command_line, cpu_s, process_tree, rss_mb

READY_LIMIT_S = 120.0
STOP_LIMIT_S = 20.0
ADAPTERS = "loadtests.peers.adapters"


class Running:
    """One gateway, or, with neither plan nor process, the teacher itself called directly."""

    def __init__(
        self, name: str, port: int, plan: Plan | None = None, root: int | None = None, ready_s: float = 0.0
    ) -> None:
        self.name = name
        self.port = port
        self.plan = plan
        self.ready_s = ready_s
        self._root = root
        self._workers = [pid for pid in self._tree() if not plan or plan.worker in command_line(pid)]
        if root and not self._workers:
            raise LookupError(f"{name} has no process '{plan.worker if plan else ''}'")

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Headers that its clients must send."""
        return self.plan.headers if self.plan else ()

    @property
    def ready_path(self) -> str:
        """A page that it answers itself, "" for none."""
        return self.plan.ready_path if self.plan else ""

    def cpu_s(self) -> float:
        """Return the CPU seconds of all its processes so far."""
        return sum(cpu_s(pid) for pid in self._tree())

    def workers_cpu_s(self) -> list[float]:
        """Return the CPU seconds of each process that answers."""
        return [cpu_s(pid) for pid in self._workers]

    def worker_rss_mb(self) -> float:
        """Return the resident memory of the processes that answer, in MB."""
        return sum(rss_mb(pid) for pid in self._workers)

    def rss_mb(self) -> float:
        """Return the resident memory of all its processes; shared pages count in each."""
        return sum(rss_mb(pid) for pid in self._tree())

    def _tree(self) -> list[int]:
        return process_tree(self._root) if self._root else []


@contextmanager
def running(
    name: str,
    *,
    peers: Path | None,
    scratch: Path,
    teacher_port: int,
    cores: Iterable[int],
    flags: tuple[str, ...] = (),
) -> Iterator[Running]:
    """Start the gateway `name` on `cores`, `flags` added to its command; yield it once it is ready.

    Raises AbsentError when it is not installed, RuntimeError with its log when it does not start.
    """
    scratch.mkdir(parents=True)
    place = Place(peers=peers, scratch=scratch, teacher_port=teacher_port, port=free_port())
    plan: Plan = load_plugin(ADAPTERS, name).prepare(place)
    log = scratch / "output.log"
    begun = time.monotonic()
    with log.open("wb") as output, pinned(cores):
        process = subprocess.Popen(
            [*plan.command, *flags],
            env={**os.environ, **plan.environment},
            cwd=scratch,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        while not _is_ready(place.port, plan.ready_path):
            if process.poll() is not None or time.monotonic() - begun > READY_LIMIT_S:
                raise RuntimeError(f"{name} did not start: {log.read_text(errors='replace')[-2_000:]}")
            time.sleep(0.01)
        yield Running(name, place.port, plan, process.pid, time.monotonic() - begun)
    finally:
        end_process(process, STOP_LIMIT_S)
        # The rest of a master that had to be killed.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def running_teacher(cores: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Run the cheap teacher on `cores`; yield its port and its process."""
    command = [sys.executable, "-m", "loadtests.peers.teacher"]
    with pinned(cores), subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["port"], process.pid
        finally:
            process.terminate()


@contextmanager
def pinned(cores: Iterable[int]) -> Iterator[None]:
    """Run this process on `cores` until the block ends; processes started inside stay on them."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free now."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def _is_ready(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
