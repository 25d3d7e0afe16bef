"""What the demo has seen so far, and the picture of it."""

from __future__ import annotations

import statistics
from collections import deque
from typing import TYPE_CHECKING, Any

from gateway.demo.replay import Served

if TYPE_CHECKING:
    from rich.console import RenderableType

BLOCKS = "▁▂▃▄▅▆▇█"
RECENT = 300
COLUMNS = 60
REQUESTS_PER_COLUMN = 60


class Board:
    """Sums over the replay, and its picture."""

    def __init__(self, price_note: str) -> None:
        self.phase = ""
        self.events: list[str] = []
        self.served = 0
        self.status: dict[str, Any] = {}
        self._price_note = price_note
        self._columns: deque[list[int]] = deque(maxlen=COLUMNS)
        self._recent: deque[Served] = deque(maxlen=RECENT)
        self._latency: dict[bool, deque[float]] = {True: deque(maxlen=RECENT), False: deque(maxlen=RECENT)}

    def add(self, served: Served) -> None:
        """Take one finished request in."""
        is_local = served.decision == "local"
        if self.served % REQUESTS_PER_COLUMN == 0:
            self._columns.append([0, 0])
        self.served += 1
        self._columns[-1][0] += 1
        self._columns[-1][1] += not is_local
        self._recent.append(served)
        self._latency[is_local].append(served.latency_ms)

    def happened(self, event: str) -> None:
        """Note something worth a line, with the request count at which it came."""
        self.events.append(f"after {self.served:>5,} requests  {event}")

    @property
    def recent_escalation(self) -> float:
        """Share of the latest requests which the teacher answered, audits included."""
        return sum(one.decision != "local" for one in self._recent) / max(1, len(self._recent))

    @property
    def recent_agreement(self) -> float | None:
        """Share of the latest local answers which equal the teacher's, or None without one."""
        local = [one.agrees for one in self._recent if one.decision == "local"]
        return sum(local) / len(local) if local else None

    def render(self) -> RenderableType:
        """Return the picture, for rich."""
        from rich.console import Group  # only for those who look
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        figures = Table.grid(padding=(0, 3))
        for name, value in self.figures():
            figures.add_row(name, Text(value, style="bold"))
        figures.add_row("escalation, low to high", Text(self._curve(), style="cyan"))
        events = Text("\n".join(self.events[-8:]) or " ", overflow="ellipsis", no_wrap=True)
        return Panel(
            Group(Text(self.phase, style="bold yellow"), Text(), figures, Text(), events),
            title="stepdown demo: SIMULATED teacher, real gateway",
            border_style="blue",
        )

    def figures(self) -> list[tuple[str, str]]:
        """Return the named figures as text, in the order to be shown."""
        costs = self.status.get("costs", {})
        spent, instead = costs.get("usd", 0.0), costs.get("counterfactual_usd", 0.0)
        latency = f"local {_ms(self._p50_ms(True))}, teacher {_ms(self._p50_ms(False))} (simulated)"
        return [
            ("requests", f"{self.served:,}, none failed"),
            ("to the teacher, lately", f"{self.recent_escalation:.1%} (audits included)"),
            ("local = teacher, lately", _percent(self.recent_agreement)),
            ("saved", f"${instead - spent:,.4f} of ${instead:,.4f} ({self._price_note})"),
            ("p50 latency", latency),
            ("certificate", self._certificate()),
        ]

    def _p50_ms(self, is_local: bool) -> float | None:
        return statistics.median(self._latency[is_local]) if self._latency[is_local] else None

    def _curve(self) -> str:
        top = len(BLOCKS) - 1
        return "".join(BLOCKS[round(not_local / seen * top)] for seen, not_local in self._columns)

    def _certificate(self) -> str:
        tasks = self.status.get("tasks", [])
        if not tasks:
            return "none yet: shadow, the teacher answers everything"
        task = tasks[0]
        if task["stage"] != "live":
            missing = task.get("audits_missing")
            return f"{task['stage']}, " + (f"about {missing:,} audits missing" if missing else "learning")
        promise = f"<= {task['alpha']:.0%} differ, {1 - task['delta']:.0%} sure"
        return f"v{task['version']}: {promise} ({task['audits']:,} audits)"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f} ms"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
