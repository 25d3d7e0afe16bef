"""What a run of `loadtests.peers` shows, and the bars which stepdown's figures must meet."""

from __future__ import annotations

from typing import Annotated

import msgspec

Bar = tuple[str, float]
"""What is asked of a figure of stepdown: "<=" or ">=", and the number."""
LEAST_RATIO = {"portkey": 8.0, "litellm": 50.0}
"""How many times a peer's requests per core stepdown must serve."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Of one gateway: medians over the rounds, all CPU and memory with every process it consists of.

    None where it could not be measured: a direct call has no gateway, or an answer failed.
    """

    ready_s: float | None = None
    """From its start until it answers, on one core."""
    rss_idle_mb: float | None = None
    tree_rss_idle_mb: float | None = None
    """With its other processes; stepdown's model host and learner are such."""
    plain_1k_per_s: Annotated[float | None, (">=", 4000.0)] = None
    """Requests a second with the gateway alone on one core: 32 in flight, bodies of 1 KB."""
    plain_1k_cpu_us: Annotated[float | None, ("<=", 240.0)] = None
    plain_1k_teacher_us: float | None = None
    """What the teacher took for each of them: it shares a core with the generator."""
    plain_1k_generator_us: float | None = None
    load_core_busy: float | None = None
    """Share of that core which both took: near 1, they are what was measured, and not the gateway."""
    plain_10k_per_s: float | None = None
    plain_10k_cpu_us: float | None = None
    plain_50k_per_s: float | None = None
    plain_50k_cpu_us: float | None = None
    p50_ms: float | None = None
    """One request in flight."""
    p99_ms: float | None = None
    added_p50_ms: Annotated[float | None, ("<=", 0.5)] = None
    """Less the direct call's, which were taken in turn with it."""
    added_p99_ms: Annotated[float | None, ("<=", 2.0)] = None
    streams_per_s: float | None = None
    """Streams of 100 chunks, one a millisecond, 64 in flight."""
    chunk_cpu_us: Annotated[float | None, ("<=", 70.0)] = None
    """CPU of a stream by the 100 chunks which were sent, 8 streams in flight."""
    pieces: float | None = None
    """Of a stream as they arrived in that: fewer than 100 where some came together."""
    first_chunk_delay_p50_ms: Annotated[float | None, ("<=", 0.3)] = None
    """From where the teacher writes it to where the client has it; one stream in flight."""
    first_chunk_delay_p99_ms: float | None = None
    first_chunk_ms: float | None = None
    """From the request to the first byte of the body."""
    added_first_chunk_ms: float | None = None
    open_500: Open | None = None
    open_2000: Open | None = None
    memory: Memory | None = None


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """Many streams open at once, each getting a chunk every half second."""

    finished: Annotated[float, (">=", 1.0)]
    """Share of them which came whole."""
    delay_p50_ms: float | None
    """Of all chunks, from the teacher's writing to the client's having them."""
    delay_p99_ms: float | None
    lag_p50_ms: float | None
    """Of a request to the gateway's own health page meanwhile: how late its event loop is."""
    lag_p99_ms: Annotated[float | None, ("<=", 20.0)]
    rss_mb: float | None


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Of the processes which answer, over many requests."""

    requests: int
    """100,000, or what the gateway managed in the time it was given."""
    rss_mb: Annotated[float, ("<=", 100.0)]
    """After all of them."""
    tree_rss_mb: float
    # An allocator is not still: a tenth of a page a request would be 41 MB.
    slope_mb_per_100k: Annotated[float, ("<=", 1.0)]
    """Of a straight line through ten points after the first fifth."""


class Workers(msgspec.Struct, frozen=True, kw_only=True):
    """Two workers of stepdown against one, all of it and the load on the same two cores."""

    one_per_s: float
    two_per_s: float
    ratio: float
    """As measured."""
    most: float
    """What sharing two cores with teacher and generator allows: 2w / (w + l), by CPU a request."""
    cpu_us_of_one: float
    cpu_us_of_two: float
    busiest_share: float
    """Of the two workers' CPU, what the busier one took."""
    ratio_with_free_cores: Annotated[float, (">=", 1.7)]
    """What cores of their own would give: that share times its CPU a request sets the pace."""


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """How soon stepdown is there, with all cores for it."""

    import_gateway_ms: Annotated[float, ("<=", 100.0)]
    import_worker_ms: float
    """All that a worker imports."""
    ready_s: Annotated[float, ("<=", 2.0)]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    cores: tuple[int, int]
    """Of the gateway, and of teacher and generator."""
    load_average: tuple[float, float]
    """Before and after: far above what the run itself takes, others used the machine."""
    versions: dict[str, str]
    skipped: dict[str, str]
    """Why a peer is absent."""
    failures: dict[str, dict[str, int]]
    """By gateway, how many requests failed for which reason."""
    figures: dict[str, Figures]
    workers: Workers | None
    start: Start | None
