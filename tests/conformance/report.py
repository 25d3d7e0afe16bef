"""Results as a table, of one gateway or of several side by side."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Entry(msgspec.Struct, frozen=True):
    """The result of one check; `outcome` is pass, fail or skip, `reason` is one line."""

    number: int
    rule: str
    source: str
    outcome: str
    reason: str


class Results(msgspec.Struct, frozen=True):
    """The results of one gateway."""

    gateway: str
    entries: list[Entry]

    def count(self, outcome: str) -> int:
        """Return the number of checks with this outcome."""
        return sum(entry.outcome == outcome for entry in self.entries)

    @property
    def summary(self) -> str:
        """The numbers of passed, failed and skipped checks."""
        return ", ".join(f"{self.count(outcome)} {outcome}" for outcome in ("pass", "fail", "skip"))


def compare_results(several: Sequence[Results]) -> str:
    """Return a Markdown table with one column per gateway, then the reasons of failed checks."""
    names = [one.gateway for one in several]
    lines = [_row(["", "check", "source", *names]), _row(["---:", "---", "---", *["---"] * len(names)])]
    lines.append(_row(["", "", "", *(one.summary for one in several)]))
    found = [{entry.number: entry for entry in one.entries} for one in several]
    rules = {entry.number: entry for one in several for entry in one.entries}
    for number, rule in sorted(rules.items()):
        outcomes = [entries[number].outcome if number in entries else "" for entries in found]
        lines.append(_row([str(number), rule.rule, rule.source, *outcomes]))
    for one in several:
        failed = [entry for entry in one.entries if entry.outcome == "fail"]
        lines += [f"\nChecks that {one.gateway} fails:\n"] if failed else []
        lines += [f"- {entry.number} {entry.rule}: `{entry.reason.replace('`', '')}`" for entry in failed]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
