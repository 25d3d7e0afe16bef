"""The demo's board: sums over the replay so far, and the picture of them."""

from __future__ import annotations

import statistics
from collections import deque
from typing import TYPE_CHECKING, Any

from gateway.demo.replay import Served

if TYPE_CHECKING:
    from rich.console import RenderableType

BLOCKS = "▁▂▃▄▅▆▇█"
RECENT = 300
# The columns fit beside their name into a terminal of 80, and hold the requests of a whole demo.
COLUMNS = 45
REQUESTS_PER_COLUMN = 100
SHOWN_EVENTS = 8


class Board:
    """Sums over the replay. Attributes may be set from outside: `phase`, and `status` of the gateway."""

    def __init__(self, price_note: str) -> None:
        self.phase = ""
        self.events: list[tuple[int, str]] = []
        """Number of requests before it, and the event."""
        self.served = 0
        self.status: dict[str, Any] = {}
        self._price_note = price_note
        self._columns: deque[list[int]] = deque(maxlen=COLUMNS)
        self._recent: deque[Served] = deque(maxlen=RECENT)
        self._latency: dict[bool, deque[float]] = {True: deque(maxlen=RECENT), False: deque(maxlen=RECENT)}

    def add_request(self, served: Served) -> None:
        """Count one finished request."""
        is_local = served.decision == "local"
        if self.served % REQUESTS_PER_COLUMN == 0:
            self._columns.append([0, 0])
        self.served += 1
        self._columns[-1][0] += 1
        self._columns[-1][1] += not is_local
        self._recent.append(served)
        self._latency[is_local].append(served.latency_ms)

    def add_event(self, event: str) -> None:
        """Note an event that deserves a line."""
        self.events.append((self.served, event))

    @property
    def recent_escalation(self) -> float:
        """Share of the latest requests that the teacher answered, audits included."""
        return sum(one.decision != "local" for one in self._recent) / max(1, len(self._recent))

    @property
    def recent_agreement(self) -> float | None:
        """Share of the latest local answers that equal the teacher's, None without one."""
        local = [one.agrees for one in self._recent if one.decision == "local"]
        return sum(local) / len(local) if local else None

    def render(self) -> RenderableType:
        """Return the picture for rich, at most 80 columns wide where the terminal is."""
        from rich.console import Group  # only for a demo that is shown
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        figures = Table.grid(padding=(0, 2))
        for name, value in self.list_figures():
            figures.add_row(name, Text(value, style="bold"))
        figures.add_row("escalation over time", Text(self._curve(), style="cyan"))
        events = Table.grid(padding=(0, 2))
        events.add_column(justify="right", no_wrap=True)
        for count, event in self.events[-SHOWN_EVENTS:]:
            events.add_row(f"after {count:,}", Text(event))
        return Panel(
            Group(Text(self.phase, style="bold yellow"), Text(), figures, Text(), events),
            title="stepdown demo: SIMULATED teacher, real gateway",
            border_style="blue",
        )

    def list_figures(self) -> list[tuple[str, str]]:
        """Return the named figures as text, in the order of the board."""
        costs = self.status.get("costs", {})
        spent, instead = costs.get("usd", 0.0), costs.get("counterfactual_usd", 0.0)
        latency = f"local {_ms(self._median_ms(True))}, teacher {_ms(self._median_ms(False))} (simulated)"
        return [
            ("requests", f"{self.served:,}, none failed"),
            ("to the teacher", f"{self.recent_escalation:.1%} of the last {RECENT}, audits included"),
            ("local answers", self._agreement()),
            ("saved", f"${instead - spent:,.4f} of ${instead:,.4f} ({self._price_note})"),
            ("median latency", latency),
            ("certificate", self._certificate()),
        ]

    def _median_ms(self, is_local: bool) -> float | None:
        return statistics.median(self._latency[is_local]) if self._latency[is_local] else None

    def _agreement(self) -> str:
        agreement = self.recent_agreement
        return "none lately" if agreement is None else f"{agreement:.1%} agree with the teacher"

    def _curve(self) -> str:
        top = len(BLOCKS) - 1
        return "".join(BLOCKS[round(not_local / seen * top)] for seen, not_local in self._columns)

    def _certificate(self) -> str:
        tasks = self.status.get("tasks", [])
        if not tasks:
            return "none yet, the teacher answers everything"
        task = tasks[0]
        if task["stage"] == "live":
            promise = f"at most {task['alpha']:.0%} differ, {1 - task['delta']:.0%} sure"
            return f"v{task['version']}: {promise} ({task['audits']:,} audits)"
        missing = task.get("audits_missing")
        state = "withdrawn by the alarm" if task["stage"] == "alarm" else "none yet"
        return f"{state}, " + (f"about {missing:,} audits missing" if missing else "learning")


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f} ms"
