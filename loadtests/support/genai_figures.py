"""The figures of the load test of small decoders, beside the bars for two cores."""

from __future__ import annotations

import msgspec
from rich.table import Table

ADAPTERS = 8
AT_ONCE = (1, 4, 16)


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one run; the bars for two cores are in `build_table`.

    `writing_per_s` and `whole_per_s` are tokens by the number of drafts at once: between an answer's first
    and last token, and with the reading of prompts. `lag_p99_ms` is that of the smallest request that
    the worker answers itself, and so no less than the lag of its event loop.
    """

    load_average: float
    writing_per_s: dict[int, float]
    whole_per_s: dict[int, float]
    first_token_p50_ms: float
    first_token_p99_ms: float
    answer_p50_ms: float
    answer_p99_ms: float
    rss_mb: float
    idle_lag_p99_ms: float
    lag_p99_ms: float
    idle_proxied_p99_ms: float
    proxied_p99_ms: float
    drafts_meanwhile: int


def build_table(figures: Figures) -> Table:
    """Return the figures beside their bars."""
    shown = Table("figure", "measured", "bar", title=f"load average at the start {figures.load_average}")
    for count, bar in zip(AT_ONCE, (110, 190, 280), strict=True):
        shown.add_row(f"tokens/s, {count} at once", f"{figures.writing_per_s[count]:.0f}", f">= {bar}")
        shown.add_row("  with reading prompts", f"{figures.whole_per_s[count]:.0f}", "")
    shown.add_row(
        "first token p50, p99", f"{figures.first_token_p50_ms:.0f}, {figures.first_token_p99_ms:.0f} ms", ""
    )
    shown.add_row(
        "answer p50, p99", f"{figures.answer_p50_ms:.0f}, {figures.answer_p99_ms:.0f} ms", "p50 <= 400 ms"
    )
    shown.add_row(f"RSS with {ADAPTERS} adapters", f"{figures.rss_mb:.0f} MB", "<= 700 MB")
    shown.add_row(
        "loop lag p99, idle -> busy",
        f"{figures.idle_lag_p99_ms:.1f} -> {figures.lag_p99_ms:.1f} ms",
        "<= 20 ms",
    )
    shown.add_row(
        "proxied p99, idle -> busy",
        f"{figures.idle_proxied_p99_ms:.1f} -> {figures.proxied_p99_ms:.1f} ms",
        "<= 1.5x",
    )
    shown.add_row("local drafts during it", str(figures.drafts_meanwhile), "")
    return shown
