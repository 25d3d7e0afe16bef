"""The queueing model: processes that want cores, and requests that wait for a worker.

A worker is one event loop, so one server. Requests are spread over the workers as they come, so each is a
queue of its own: M/G/1, whose mean wait is that of Pollaczek and Khinchine, and whose tail is taken to be
exponential with the same mean.

Sources: Kleinrock 1975, "Queueing Systems" I, 5.6 (the mean), II, 2.1 (the tail of heavy traffic).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec


class Piece(msgspec.Struct, frozen=True):
    """Work that a worker does in one go: how often per second, and how long it takes."""

    per_s: float
    service_s: float


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """What waits for one worker."""

    utilization: float
    mean_wait_s: float

    def wait_s(self, share: float) -> float:
        """Return the wait that `share` of the pieces do not exceed; infinite for a worker with too much."""
        if self.utilization >= 1.0:
            return math.inf
        if self.utilization <= 1.0 - share:
            return 0.0
        return self.mean_wait_s / self.utilization * math.log(self.utilization / (1.0 - share))


def describe_queue(pieces: Sequence[Piece]) -> Queue:
    """Return the queue before one worker that gets all `pieces`."""
    utilization = sum(piece.per_s * piece.service_s for piece in pieces)
    if utilization >= 1.0:
        return Queue(utilization=utilization, mean_wait_s=math.inf)
    second_moment = sum(piece.per_s * piece.service_s**2 for piece in pieces)
    return Queue(utilization=utilization, mean_wait_s=second_moment / (2.0 * (1.0 - utilization)))


def find_utilization(pieces: Sequence[Piece], limit_s: float, most: float) -> float:
    """Return the utilization, at most `most`, up to which p99 of the wait stays within `limit_s`.

    `pieces` say in which proportions work comes; how much of it does not matter.
    """
    whole = sum(piece.per_s * piece.service_s for piece in pieces)
    low, high = 0.0, most
    for _ in range(40):
        middle = (low + high) / 2
        scaled = [Piece(piece.per_s * middle / whole, piece.service_s) for piece in pieces]
        low, high = (middle, high) if describe_queue(scaled).wait_s(0.99) <= limit_s else (low, middle)
    return low


class Saturated(msgspec.Struct, frozen=True, kw_only=True):
    """Workers that always have something to do, with all that loads them, on one machine's cores."""

    per_s: float
    worker_us: float
    """CPU of the workers per request."""
    load_us: float
    """CPU of what asks and what answers them, on the same cores."""
    idle_cores: float
    """Cores that had nothing to do meanwhile, on average."""


def predict_saturated(one: Saturated, workers: int, cores: int, shared_cache: float) -> float:
    """Return the requests per second of `workers`, from what one worker did in the same circumstances.

    Processes that always want a core share the cores evenly. One worker's share of a core, and what was
    left idle, say how many others wanted one, too: other work on the machine, which goes on beside the
    further workers.
    """
    share = min(1.0, one.per_s * one.worker_us / 1e6)
    others = max(0.0, (cores - one.idle_cores) / share - 1.0 - one.load_us / one.worker_us)
    worker_us = one.worker_us * (shared_cache if workers > 1 else 1.0)
    wanted = workers * (1.0 + one.load_us / worker_us) + others
    return workers * min(1.0, cores / wanted) / worker_us * 1e6


def predict_latency_ms(one_ms: float, one_per_s: float, per_s: float) -> float:
    """Return the latency at another throughput with as many requests at a time (Little's law)."""
    return one_ms * one_per_s / per_s
