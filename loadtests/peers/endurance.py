"""Measurements that take a while: memory over 100,000 requests, and thousands of open streams."""

from __future__ import annotations

import contextlib
import http.client
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from loadtests.peers.arithmetic import quantile, rounded, slope
from loadtests.peers.bench import SATURATING, Bench
from loadtests.peers.figures import Memory, Open
from loadtests.peers.running import Running
from loadtests.peers.teacher import marker

POINTS = 10
WARM_SHARE = 0.2
OPENED_PER_S = 500.0
PROBE_EVERY_S = 0.02
PROBE_LIMIT_S = 20.0


def measure_memory(bench: Bench, target: Running) -> Memory | None:
    """Send very many requests; return the memory afterwards and its slope, None without an answer."""
    length = bench.length
    warm = round(length.memory_requests * WARM_SHARE)
    each = (length.memory_requests - warm) // POINTS
    done, points = 0, []
    for number in range(POINTS + 1):
        part = WARM_SHARE if number == 0 else (1 - WARM_SHARE) / POINTS
        count = warm if number == 0 else each
        result = bench.run(target, in_flight=SATURATING, seconds=length.memory_s * part, count=count)
        done += result.answers
        points.append((float(done), target.worker_rss_mb()))
    if points[0][0] == done:
        return None
    return Memory(
        requests=done,
        rss_mb=rounded(points[-1][1]),
        tree_rss_mb=rounded(target.rss_mb()),
        slope_mb_per_100k=rounded(slope(points) * 1e5),
    )


def open_streams(bench: Bench, target: Running, count: int) -> Open:
    """Hold `count` streams open, all at once for most of the time; return their figures."""
    length = bench.length
    lasts_s = length.open_chunks * length.open_every_ms / 1000
    with _watched(target) as seen:
        result = bench.run(
            target,
            in_flight=count,
            count=count,
            # A late gateway may be three times as slow before its streams count as lost.
            seconds=3 * (lasts_s + count / OPENED_PER_S),
            answer=marker(length.open_chunks, length.open_every_ms, "all"),
            opened_per_s=OPENED_PER_S,
        )
    return Open(
        finished=result.answers / count,
        delay_p50_ms=rounded(quantile(result.delays_ms, 0.5)),
        delay_p99_ms=rounded(quantile(result.delays_ms, 0.99)),
        lag_p50_ms=rounded(quantile(seen.lags_ms, 0.5)),
        lag_p99_ms=rounded(quantile(seen.lags_ms, 0.99)),
        rss_mb=rounded(max(seen.rss_mb, default=None)),
    )


class _Seen:
    """Observations of a gateway while many streams were open."""

    def __init__(self) -> None:
        self.lags_ms: list[float] = []
        self.rss_mb: list[float] = []


@contextmanager
def _watched(target: Running) -> Iterator[_Seen]:
    """Read the gateway's memory and time its health page until the block ends."""
    seen, is_over = _Seen(), threading.Event()

    def watch() -> None:
        # It shares a core with the load: its priority keeps the load's turns out of the figure.
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -15)
        connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=PROBE_LIMIT_S)
        while not is_over.wait(PROBE_EVERY_S):
            seen.rss_mb.append(target.worker_rss_mb())
            seen.lags_ms.append(_asked_ms(connection, target.ready_path))
        connection.close()

    watcher = threading.Thread(target=watch)
    if target.plan:
        watcher.start()
    try:
        yield seen
    finally:
        is_over.set()
        if target.plan:
            watcher.join()


def _asked_ms(connection: http.client.HTTPConnection, path: str) -> float:
    begun = time.perf_counter()
    try:
        connection.request("GET", path)
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        connection.close()
    return (time.perf_counter() - begun) * 1000
