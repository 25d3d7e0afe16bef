"""The figures of a run of `loadtests.local`, and their table."""

from __future__ import annotations

import msgspec
from rich.table import Table


class Others(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that no specialist answered; what they cost is counted to the others' account."""

    escalated: int = 0
    """Late, overloaded, or not loaded yet: the teacher answered. Unknown, and 0, in the open loop."""
    failed: int = 0
    """Refused, because the gateway or its machine was too busy, or never offered."""


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One way of asking; CPU is milliseconds per answer."""

    name: str
    answers: int
    others: Others
    per_s: float
    per_s_per_core: float
    """One second divided by the CPU of an answer in all processes."""
    cpu_ms: dict[str, float]
    p50_ms: float
    p99_ms: float


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one run."""

    load_average: float
    data: str
    specialists: int
    encoder: str
    stage_ms: dict[str, float]
    """CPU of the stages of a draft in one process."""
    first_stage_share: float
    """Share of the texts never learnt that a head's first stage drafts."""
    cold_load_ms: float
    """From the files to the first draft, hashes checked; the encoder is there."""
    rounds: list[Round]
    rss_mb: dict[str, float]


def build_table(figures: Figures) -> Table:
    """Return one row per round."""
    stages = ", ".join(f"{name} {ms} ms" for name, ms in figures.stage_ms.items())
    memory = ", ".join(f"{name} {mb:.0f} MB" for name, mb in figures.rss_mb.items())
    title = (
        f"{figures.data}, {figures.specialists} specialist(s), {figures.encoder}, load {figures.load_average}"
    )
    share = f"{figures.first_stage_share:.0%} of the drafts by the first stage"
    caption = f"CPU of a draft: {stages}; {share}. Cold load {figures.cold_load_ms} ms. Resident: {memory}."
    table = Table(
        title=title,
        caption=caption,
    )
    for name in (
        "round",
        "answers",
        "escalated / failed",
        "/s",
        "/s per core",
        "CPU ms by process",
        "p50 ms",
        "p99 ms",
    ):
        table.add_column(name, justify="left" if name == "round" else "right")
    for one in figures.rounds:
        cpu = ", ".join(f"{name} {ms}" for name, ms in one.cpu_ms.items())
        missed = f"{one.others.escalated} / {one.others.failed}"
        numbers = (one.answers, missed, one.per_s, one.per_s_per_core, cpu, one.p50_ms, one.p99_ms)
        table.add_row(one.name, *map(str, numbers))
    return table
