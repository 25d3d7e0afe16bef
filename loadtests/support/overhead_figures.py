"""The figures of a run of `loadtests.overhead`, and the bar that each must meet."""

from __future__ import annotations

from typing import Annotated, get_type_hints

import msgspec
from rich.table import Table

Bar = tuple[str, float]
"""The bar of a figure: "<=" or ">=", and the number."""
_MILLISECOND: Bar = ("<=", 1.0)


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one run: medians over rounds, CPU and memory by process."""

    load_average: float
    """Of the machine at the start: far above 0, the figures are of a shared machine."""
    direct_p50_ms: float
    direct_p99_ms: float
    through_p50_ms: float
    through_p99_ms: float
    added_p50_ms: Annotated[float, _MILLISECOND]
    added_p99_ms: float
    worker_waited_share: float
    """Share of these rounds in which the worker was ready to run and no core was free.

    If it is high, other work on the machine makes the p99, not the gateway.
    """
    ratio_p50: float
    cpu_us_per_request: float
    requests_per_s_per_core: Annotated[float, (">=", 2000.0)]
    requests_per_s: float
    """Measured with the worker saturated, while teacher and generator share the cores with it."""
    direct_requests_per_s: float
    """The same without a gateway: the limit of teacher and generator."""
    generator_cpu_us_per_request: float
    cpu_us_per_stream: float
    """Of 100 chunks."""
    cpu_us_per_chunk: float
    chunks_per_stream: float
    """As they arrived: fewer than were sent if some came together."""
    worker_rss_mb: Annotated[float, ("<=", 120.0)]
    host_rss_mb: float
    learner_rss_mb: float
    supervisor_rss_mb: float
    first_answer_s: Annotated[float, ("<=", 3.0)]
    help_ms: Annotated[float, ("<=", 150.0)]
    help_cpu_ms: float
    """Its CPU time: the rest is waiting for a core or the disk."""
    bare_python_ms: float
    """An interpreter that does nothing: the part of `--help` that is not ours."""
    local_p50_ms: Annotated[float | None, ("<=", 15.0)]
    """None if no specialist was certified in time; that takes a core for some seconds."""
    local_p99_ms: float | None
    local_host_cpu_ms: float | None
    """CPU of the model host for each: the time of an answer with a free core."""
    local_answers: int
    """The number of questions answered locally after the certificate."""


def build_table(figures: Figures) -> Table:
    """Return the figures as a table, each beside its bar."""
    shown = Table("figure", "measured", "bar", "")
    for name, hint in get_type_hints(Figures, include_extras=True).items():
        value = getattr(figures, name)
        relation, limit = getattr(hint, "__metadata__", [("", 0.0)])[0]
        measured = "-" if value is None else f"{value:,g}"
        if relation:
            is_met = value is not None and (value <= limit if relation == "<=" else value >= limit)
            verdict = (f"{relation} {limit:,g}", "met" if is_met else "MISSED")
        else:
            verdict = ("", "")
        shown.add_row(name.replace("_", " "), measured, *verdict)
    return shown
