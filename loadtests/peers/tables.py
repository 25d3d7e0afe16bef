"""A Report as tables in Markdown, each figure of stepdown beside its bar."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_type_hints

import msgspec

from loadtests.peers.figures import LEAST_RATIO, Bar, Figures, Memory, Open, Report, Start, Workers

FIRST = ("direct", "nginx", "stepdown")
"""The first columns, in order; other gateways follow."""
WITHIN: dict[str, type[msgspec.Struct]] = {"memory": Memory, "open_500": Open, "open_2000": Open}
"""Figures that consist of several."""


def format_tables(report: Report) -> str:
    """Return all tables, with skipped peers and failures below."""
    parts = [_comparison(report)]
    if report.workers:
        parts.append(_single("two workers of stepdown", report.workers, Workers))
    if report.start:
        parts.append(_single("start of stepdown", report.start, Start))
    notes = [f"- {name} skipped: {reason}" for name, reason in report.skipped.items()]
    notes += [
        f"- {name}: {count:,} requests failed with: {reason}"
        for name, failed in report.failures.items()
        for reason, count in failed.items()
    ]
    before, after = report.load_average
    notes.append(
        f"- load average {before:g} before, {after:g} after; gateway on core {report.cores[0]}, "
        f"teacher and generator on core {report.cores[1]}"
    )
    return "\n\n".join([*parts, "\n".join(notes)])


def _comparison(report: Report) -> str:
    names = sorted(report.figures, key=lambda name: (*FIRST, name).index(name))
    lines = [
        ["figure", "bar", *(f"{name} {report.versions.get(name, '')}".strip() for name in names)],
        ["---"] * (2 + len(names)),
    ]
    columns = {name: dict(_flat(report.figures[name])) for name in names}
    for label, bar in _rows(Figures):
        cells = [_cell(columns[name].get(label), bar if name == "stepdown" else None) for name in names]
        lines.append([_words(label), _shown(bar), *cells])
    asked = ", ".join(f">= {least:g} {name}" for name, least in LEAST_RATIO.items())
    ratios = [
        _cell(_ratio(report, name), (">=", LEAST_RATIO[name]) if name in LEAST_RATIO else None)
        for name in names
    ]
    lines.append(["stepdown's requests per core to its own", asked, *ratios])
    # The same in CPU time: other work on the machine disturbs it less.
    spent = [_cell(_ratio(report, name, "plain_1k_cpu_us"), None) for name in names]
    lines.append(["its CPU per request to stepdown's", "", *spent])
    return _markdown(lines)


def _single(title: str, one: msgspec.Struct, kind: type[msgspec.Struct]) -> str:
    lines = [[title, "bar", "stepdown"], ["---"] * 3]
    values = dict(_flat(one))
    lines += [[_words(label), _shown(bar), _cell(values[label], bar)] for label, bar in _rows(kind)]
    return _markdown(lines)


def _rows(kind: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, Bar | None]]:
    """Yield label and bar of every figure, those of a struct within it after its own label."""
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if inner := WITHIN.get(name):
            yield from _rows(inner, f"{name}_")
        else:
            yield prefix + name, getattr(hint, "__metadata__", (None,))[0]


def _flat(figures: msgspec.Struct, prefix: str = "") -> Iterator[tuple[str, float | None]]:
    for name, value in msgspec.structs.asdict(figures).items():
        if isinstance(value, msgspec.Struct):
            yield from _flat(value, f"{name}_")
        else:
            yield prefix + name, value


def _ratio(report: Report, name: str, figure: str = "plain_1k_per_s") -> float | None:
    """Return the factor by which stepdown is better."""
    if "stepdown" not in report.figures:
        return None
    ours: float | None = getattr(report.figures["stepdown"], figure)
    other: float | None = getattr(report.figures[name], figure)
    if not ours or not other:
        return None
    return ours / other if figure.endswith("per_s") else other / ours


def _cell(value: float | None, bar: Bar | None) -> str:
    if value is None:
        return "-" if bar is None else "- (MISSED)"
    shown = f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"
    if bar is None:
        return shown
    relation, limit = bar
    is_met = value <= limit if relation == "<=" else value >= limit
    return f"**{shown}** ({'met' if is_met else 'MISSED'})"


def _shown(bar: Bar | None) -> str:
    return f"{bar[0]} {bar[1]:,g}" if bar else ""


def _words(label: str) -> str:
    return label.replace("_", " ")


def _markdown(lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
