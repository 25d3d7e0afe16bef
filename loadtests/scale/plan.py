"""The size of a fleet for a rate of requests: replicas, cores, Valkey, storage, dollars."""

from __future__ import annotations

import math

import msgspec

from loadtests.scale.costs import Costs
from loadtests.scale.model import Piece, describe_queue, find_utilization

DAY_S = 86_400
DAYS = 30
MOST_BUSY = 0.6
"""Of a worker or a model host at the peak: the rest is for what is uneven within a second."""
MB_PER_BODIES = 3 * 256
"""edge.bodies_mb, three times their size, per worker."""


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """What comes, beside its rate; what is assumed and not measured."""

    request_kb: float = 2.0
    streamed: float = 0.3
    """Share of the teacher's answers."""
    chunks: float = 60.0
    """Of a streamed answer."""
    local: float = 0.7
    """Share of the requests that specialists answer."""
    learnt: float = 0.2
    """Share of those whose text was learnt word for word."""
    mean_to_peak: float = 0.4
    """The mean rate of a day to its peak."""
    wait_p99_ms: float = 5.0
    """Wait for a worker at the peak that is accepted."""
    limits: bool = True
    """Whether keys have limits."""
    core_usd: float = 30.0
    """A core with 4 GB, per month."""
    gb_usd: float = 0.1
    """A GB on a disk, per month."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet for one rate. Rates are of the peak, storage of a whole day, dollars of 30 days."""

    requests_per_s: float
    replicas: int
    """Including one that may be away: an upgrade, a broken machine."""
    workers: int
    """Per replica."""
    cores: int
    """Of all replicas."""
    memory_gb: float
    busy: float
    """Share of its time that a worker works, with one replica away."""
    wait_p99_ms: float
    """For a worker, with one replica away."""
    valkey_commands_per_s: float
    """0 with one replica, which needs no Valkey."""
    valkey_busy: float
    storage_gb_per_day: float
    machines_usd: float
    teacher_usd: float
    teacher_only_usd: float
    """What the teacher would cost without specialists."""


def plan_fleet(
    requests_per_s: float, workload: Workload, costs: Costs, *, cores: int = 4, spare: bool = True
) -> Plan:
    """Return the smallest fleet of replicas with up to `cores` cores that does it.

    A replica has one model host, on one core, and up to `cores` - 1 workers.
    """
    pieces = list_pieces(workload, costs)
    per_request_s = sum(piece.per_s * piece.service_s for piece in pieces)
    host_us = workload.learnt * costs.learnt_host_us.value + (1 - workload.learnt) * costs.local_host_us.value
    host_s = workload.local * host_us / 1e6
    busiest = find_utilization(pieces, workload.wait_p99_ms / 1e3, MOST_BUSY)
    all_workers = requests_per_s * per_request_s / busiest
    hosts = requests_per_s * host_s / MOST_BUSY
    # As many workers as keep the host as busy as themselves.
    workers = max(1, min(cores - 1, math.ceil(all_workers / max(1.0, hosts))))
    needed = max(1, math.ceil(max(all_workers / workers, hosts)))
    replicas = needed + spare
    each = requests_per_s / (needed * workers)
    queue = describe_queue([Piece(piece.per_s * each, piece.service_s) for piece in pieces])
    a_day = requests_per_s * workload.mean_to_peak * DAY_S
    row_bytes = workload.request_kb * 1024 + costs.row_bytes.value
    storage_gb = a_day * ((1 - workload.local) * row_bytes + costs.decision_bytes.value) / 1e9
    commands = costs.machine_commands.value + workload.limits * costs.limit_commands.value
    used_cores = replicas * (workers + 1)
    # Of a month's rows, all replicas together.
    disk_usd = storage_gb * DAYS * workload.gb_usd
    teacher_only_usd = a_day * DAYS * costs.teacher_usd.value
    return Plan(
        requests_per_s=requests_per_s,
        replicas=replicas,
        workers=workers,
        cores=used_cores,
        memory_gb=replicas
        * (costs.machine_mb.value + workers * (costs.worker_mb.value + MB_PER_BODIES))
        / 1024,
        busy=queue.utilization,
        wait_p99_ms=queue.wait_s(0.99) * 1e3,
        valkey_commands_per_s=replicas * commands if replicas > 1 else 0.0,
        valkey_busy=replicas * costs.machine_valkey_us.value / 1e6 if replicas > 1 else 0.0,
        storage_gb_per_day=storage_gb,
        machines_usd=used_cores * workload.core_usd + disk_usd,
        teacher_usd=teacher_only_usd * (1 - workload.local),
        teacher_only_usd=teacher_only_usd,
    )


def list_pieces(workload: Workload, costs: Costs) -> list[Piece]:
    """Return the work of one request per second, in the pieces that a worker does in one go."""
    shared = costs.shared_cache.value
    escalated_us = costs.escalated_us.value + costs.request_kb_us.value * max(0.0, workload.request_kb - 1)
    escalated = 1 - workload.local
    return [
        # A request passes the worker twice: when it comes, and when its answer does.
        Piece(2 * escalated, escalated_us * shared / 2e6),
        Piece(2 * workload.local, costs.local_worker_us.value * shared / 2e6),
        Piece(escalated * workload.streamed * workload.chunks, costs.chunk_us.value * shared / 1e6),
    ]
