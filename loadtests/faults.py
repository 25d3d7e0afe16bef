"""What a gateway does while its disk is full or slow, a worker is stopped or killed, or it is told to end.

`python -m loadtests.faults` prints one line for each fault; a small tmpfs is mounted for the full disk, so
that part needs root. The teacher is simulated and local.
"""

from __future__ import annotations

import argparse
import http.client
import os
import signal
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.api.site_server import CHAT, chat_body
from tests.support.processes import RunningGateway, children, gateway_process, is_alive
from tests.support.small_disk import small_disk
from tests.support.teacher import running_teacher
from tests.support.waiting import wait_for

WORKER = "gateway.processes.worker"
CLIENTS = 8
LONGEST_S = 30.0
SLOW_S = 15.0
WRITE_S = 4.0


class Traffic:
    """Clients that ask one thing after the other, each time on a new connection."""

    def __init__(self, port: int) -> None:
        self.answers: list[tuple[float, str, float]] = []
        """When it was asked, the status or the error, and the seconds that it took."""
        self._port = port
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask no more, and wait for the answers under way."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(LONGEST_S)

    def _ask(self) -> None:
        body = chat_body(model="gpt-4o")
        while not self._stopping.is_set():
            begun = time.monotonic()
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=LONGEST_S)
            try:
                connection.request("POST", CHAT, body, {"content-type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                end = str(answer.status)
            except (OSError, http.client.HTTPException) as exc:
                end = type(exc).__name__
            finally:
                connection.close()
            self.answers.append((begun, end, time.monotonic() - begun))
            time.sleep(0.05)


def _workers(gateway: RunningGateway) -> list[int]:
    return [pid for pid, name in children(gateway.process.pid).items() if name == WORKER]


def _report(fault: str, traffic: Traffic, since: float, note: str = "") -> None:
    """Print how the requests that were begun after `since` have ended."""
    seen = [(end, took) for begun, end, took in traffic.answers if begun >= since]
    ends = dict(Counter(end for end, _ in seen))
    slowest = max((took for _, took in seen), default=0.0)
    print(f"{fault:34} {ends}, slowest {slowest:.2f} s{note}", flush=True)


@contextmanager
def _under_traffic(home: Path, *flags: str) -> Iterator[tuple[RunningGateway, Traffic]]:
    with (
        running_teacher({"ping": "pong"}) as teacher,
        gateway_process(
            home, "--open", *flags, OPENAI_BASE_URL=teacher.base_url, STEPDOWN_LEARN_ENABLED="false"
        ) as gateway,
    ):
        traffic = Traffic(gateway.port)
        time.sleep(3)
        try:
            yield gateway, traffic
        finally:
            traffic.stop()


def _stop_worker(home: Path) -> None:
    with _under_traffic(home, "--workers", "2") as (gateway, traffic):
        wait_for(lambda: len(_workers(gateway)) == 2, "two workers")
        since, stopped = time.monotonic(), _workers(gateway)[0]
        os.kill(stopped, signal.SIGSTOP)
        wait_for(lambda: not is_alive(stopped), "it is not replaced")
        replaced_s = time.monotonic() - since
        time.sleep(5)
        traffic.stop()
        waited = [begun + took - since for begun, _, took in traffic.answers if begun >= since and took > 1]
        last = f", the last after {max(waited):.1f} s" if waited else ""
        _report("SIGSTOP of 1 of 2 workers", traffic, since, f"; killed after {replaced_s:.1f} s, "
               f"{len(waited)} requests waited over 1 s{last}")  # fmt: skip


def _kill_worker(home: Path) -> None:
    with _under_traffic(home, "--workers", "2") as (gateway, traffic):
        since = time.monotonic()
        os.kill(_workers(gateway)[0], signal.SIGKILL)
        time.sleep(5)
        traffic.stop()
        _report("SIGKILL of 1 of 2 workers", traffic, since)


def _fill_disk(home: Path) -> None:
    with small_disk(home, megabytes=16) as disk, _under_traffic(disk.folder / "home") as (gateway, traffic):
        since = time.monotonic()
        disk.fill()
        time.sleep(8)
        os.kill(_workers(gateway)[0], signal.SIGKILL)
        time.sleep(8)
        waiting = gateway.status()["waiting"]["rows"]
        disk.empty()
        freed = time.monotonic()
        wait_for(lambda: gateway.status()["waiting"]["rows"] < CLIENTS * 20, "rows still wait")
        healed_s = time.monotonic() - freed
        traffic.stop()
        _report("full disk, worker killed on it", traffic, since, f"; {waiting} rows waited, written "
               f"{healed_s:.1f} s after there was room, dropped {gateway.status()['dropped']}")  # fmt: skip


def _slow_disk(home: Path) -> None:
    with _under_traffic(home, "--workers", "2") as (gateway, traffic):
        warm = time.monotonic()
        time.sleep(5)
        began, waiting = time.monotonic(), 0
        with _slow_writes(home):
            while time.monotonic() < began + SLOW_S:
                time.sleep(0.2)
                waiting = max(waiting, gateway.status()["waiting"]["rows"])
        ended = time.monotonic()
        wait_for(lambda: gateway.status()["waiting"]["rows"] < CLIENTS * 20, "rows still wait")
        healed_s = time.monotonic() - ended
        traffic.stop()
        before, during = _describe_times(traffic, warm, began), _describe_times(traffic, began, ended)
        note = (
            f"; {during}, before {before}; up to {waiting} rows of a worker waited, "
            f"written {healed_s:.1f} s after, dropped {gateway.status()['dropped']}"
        )
        _report(f"every write takes {WRITE_S:.0f} s", traffic, began, note)


@contextmanager
def _slow_writes(home: Path) -> Iterator[None]:
    """Hold the write lock of every database of the home, but for a moment every WRITE_S."""
    is_over = threading.Event()

    def hold(path: Path) -> None:
        with closing(sqlite3.connect(path, timeout=LONGEST_S, isolation_level=None)) as connection:
            while not is_over.is_set():
                connection.execute("BEGIN IMMEDIATE")
                is_over.wait(WRITE_S)
                connection.execute("ROLLBACK")
                time.sleep(0.05)

    threads = [threading.Thread(target=hold, args=(path,)) for path in home.rglob("*.db")]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def _describe_times(traffic: Traffic, since: float, until: float) -> str:
    took = sorted(took for begun, _, took in traffic.answers if since <= begun < until)
    p50, p99 = (took[int(share * len(took))] * 1000 for share in (0.5, 0.99))
    return f"p50 {p50:.0f} ms, p99 {p99:.0f} ms"


def _drain(home: Path) -> None:
    with _under_traffic(home, "--workers", "3", "--drain", "3") as (gateway, traffic):
        since = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        gateway.process.wait(LONGEST_S)
        ended_s = time.monotonic() - since
        traffic.stop()
        _report("SIGTERM, 3 workers", traffic, since, f"; ended after {ended_s:.1f} s")


PARTS: dict[str, Callable[[Path], None]] = {
    "stop": _stop_worker,
    "kill": _kill_worker,
    "disk": _fill_disk,
    "slow": _slow_disk,
    "drain": _drain,
}


def main() -> None:
    """Run the named parts, or all."""
    parser = argparse.ArgumentParser(prog="loadtests.faults", description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (all)")
    names = parser.parse_args().parts
    if unknown := set(names) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    for name in names or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            PARTS[name](Path(folder) / "home")


if __name__ == "__main__":
    main()
