"""A week in Markdown: what was spent, saved and wasted, and what changed since the week before."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.finops.report import Entry, Group, Grouping, create_group, group_entries

_SECTIONS: tuple[tuple[str, Grouping], ...] = (
    ("By policy", "policy"),
    ("By model", "model"),
    ("By key", "key"),
    ("By task", "task"),
)
MOST_LINES = 10


def render_digest(
    this_week: Sequence[Entry], last_week: Sequence[Entry], first_day: str, last_day: str
) -> str:
    """Return the digest of the days from `first_day` to `last_day`, both whole UTC days."""
    now, before = create_group("", this_week), create_group("", last_week)
    lines = [f"# Costs from {first_day} to {last_day} (UTC)", ""]
    lines += [
        f"- Spent **${now.sums.usd:,.2f}** ({_change(now.sums.usd, before.sums.usd)}) "
        f"on {now.sums.requests:,} requests.",
        f"- Saved **${now.saved_usd:,.2f}** ({_change(now.saved_usd, before.saved_usd)}): "
        f"{now.local_requests:,} answers were local. Net of the teacher's prompt cache.",
        f"- Audits cost ${now.audit_usd:,.2f}, hedges ${now.sums.hedge_usd:,.2f}. "
        "Training ran on this machine and is on no bill.",
        f"- Drafts in shadow would have saved ${now.sums.would_save_usd:,.2f} more.",
    ]
    if now.sums.estimated or now.sums.unpriced:
        lines.append(
            f"- Tokens of {now.sums.estimated:,} requests are estimates; "
            f"{now.sums.unpriced:,} requests named models that have no price."
        )
    for title, by in _SECTIONS:
        lines += ["", f"## {title}", "", f"| {by} | requests | spent | saved |", "|---|---:|---:|---:|"]
        lines += [_line(group) for group in group_entries(this_week, by)[:MOST_LINES]]
    return "\n".join(lines) + "\n"


def _line(group: Group) -> str:
    sums = group.sums
    return f"| {_cell(group.name)} | {sums.requests:,} | ${sums.usd:,.4f} | ${group.saved_usd:,.4f} |"


def _change(now: float, before: float) -> str:
    if before <= 0:
        return "nothing the week before"
    return f"{(now - before) / before:+.0%} on the week before"


def _cell(name: str) -> str:
    # A model's name is a client's text.
    return "".join(letter for letter in name if letter.isprintable()).replace("|", "\\|")[:60] or "-"
