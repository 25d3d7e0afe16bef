"""The figures of a run of `loadtests.peers`, and the bars that stepdown's figures must meet."""

from __future__ import annotations

from typing import Annotated

import msgspec

Bar = tuple[str, float]
"""The bar of a figure: "<=" or ">=", and the number."""
LEAST_RATIO = {"portkey": 8.0, "litellm": 50.0}
"""The multiple of a peer's requests per core that stepdown must serve."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Medians of one gateway over the rounds; CPU and memory count every process it consists of.

    None if it could not be measured: a direct call has no gateway, or an answer failed.
    """

    ready_s: float | None = None
    """From its start until it answers, on one core."""
    rss_idle_mb: float | None = None
    tree_rss_idle_mb: float | None = None
    """With its other processes, such as stepdown's model host and learner."""
    plain_1k_per_s: Annotated[float | None, (">=", 4000.0)] = None
    """Requests per second with the gateway alone on one core: 32 in flight, bodies of 1 KB."""
    plain_1k_cpu_us: Annotated[float | None, ("<=", 240.0)] = None
    plain_1k_teacher_us: float | None = None
    """The teacher's CPU for each of them: it shares a core with the generator."""
    plain_1k_generator_us: float | None = None
    load_core_busy: float | None = None
    """Share of that core that both took: near 1, they were measured and not the gateway."""
    plain_10k_per_s: float | None = None
    plain_10k_cpu_us: float | None = None
    plain_50k_per_s: float | None = None
    plain_50k_cpu_us: float | None = None
    p50_ms: float | None = None
    """One request in flight."""
    p99_ms: float | None = None
    added_p50_ms: Annotated[float | None, ("<=", 0.5)] = None
    """Minus the direct call's in the same round."""
    added_p99_ms: Annotated[float | None, ("<=", 2.0)] = None
    streams_per_s: float | None = None
    """Streams of 100 chunks, one per millisecond, 64 in flight."""
    chunk_cpu_us: Annotated[float | None, ("<=", 70.0)] = None
    """CPU of a stream divided by the 100 chunks sent, 8 streams in flight."""
    pieces: float | None = None
    """HTTP chunks of such a stream as they arrived: fewer than 100 if some came together."""
    first_chunk_delay_p50_ms: Annotated[float | None, ("<=", 0.3)] = None
    """From the teacher's write to the client's read; one stream in flight."""
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
    """Share of them that arrived whole."""
    delay_p50_ms: float | None
    """Of all chunks, from the teacher's write to the client's read."""
    delay_p99_ms: float | None
    lag_p50_ms: float | None
    """Latency of the gateway's own health page at the same time: how late its event loop is."""
    lag_p99_ms: Annotated[float | None, ("<=", 20.0)]
    rss_mb: float | None


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of the processes that answer, over many requests."""

    requests: int
    """100,000, or as many as the gateway answered in its time."""
    rss_mb: Annotated[float, ("<=", 100.0)]
    """After all of them."""
    tree_rss_mb: float
    # An allocator is never still: a tenth of a page per request would be 41 MB.
    slope_mb_per_100k: Annotated[float, ("<=", 1.0)]
    """Of a straight line through ten points after the first fifth."""


class Workers(msgspec.Struct, frozen=True, kw_only=True):
    """Two workers of stepdown against one, with the load on the same two cores."""

    one_per_s: float
    two_per_s: float
    ratio: float
    """As measured."""
    most: float
    """The limit of sharing two cores with teacher and generator: 2w / (w + l), by CPU per request."""
    cpu_us_of_one: float
    cpu_us_of_two: float
    busiest_share: float
    """The busier worker's share of the CPU of both."""
    ratio_with_free_cores: Annotated[float, (">=", 1.7)]
    """The ratio with a core for each: that share times the CPU per request sets the pace."""


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """The time until stepdown serves, with all cores for it."""

    import_gateway_ms: Annotated[float, ("<=", 100.0)]
    import_worker_ms: float
    """All that a worker imports."""
    ready_s: Annotated[float, ("<=", 2.0)]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    cores: tuple[int, int]
    """Of the gateway, and of teacher and generator."""
    load_average: tuple[float, float]
    """Before and after: far above the run's own load, others used the machine."""
    versions: dict[str, str]
    skipped: dict[str, str]
    """The reason why a peer is absent."""
    failures: dict[str, dict[str, int]]
    """Failed requests by gateway and reason."""
    figures: dict[str, Figures]
    workers: Workers | None
    start: Start | None
