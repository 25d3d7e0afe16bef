"""What the demo has seen so far, and the picture of it."""

from __future__ import annotations

import statistics
from collections import deque
from typing import TYPE_CHECKING, Any

from gateway.demo.replay import Served

if TYPE_CHECKING:
    from rich.console import RenderableType

BLOCKS = " ▁▂▃▄▅▆▇█"
RECENT = 400


class Board:
    """Sums over the replay. `total` is how many requests will come."""

    def __init__(self, total: int, price_note: str, bins: int = 48) -> None:
        self.phase = "shadow: the teacher answers everything"
        self.events: list[str] = []
        self.served = 0
        self.local = 0
        self.local_agreed = 0
        self.status: dict[str, Any] = {}
        self._total = total
        self._price_note = price_note
        self._bins = [[0, 0] for _ in range(bins)]
        self._recent: deque[Served] = deque(maxlen=RECENT)
        self._latency: dict[bool, deque[float]] = {True: deque(maxlen=RECENT), False: deque(maxlen=RECENT)}

    def add(self, served: Served) -> None:
        """Take one finished request in."""
        is_local = served.decision == "local"
        self.served += 1
        self.local += is_local
        self.local_agreed += is_local and served.agrees
        column = self._bins[min(len(self._bins) - 1, self.served * len(self._bins) // (self._total + 1))]
        column[0] += 1
        column[1] += not is_local
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
        from rich.console import Group
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        figures = Table.grid(padding=(0, 3))
        for name, value in self.figures():
            figures.add_row(name, f"[bold]{value}[/bold]")
        curve = (
            Text("escalation  ") + Text(self._curve(), style="cyan") + Text("  100 % at the top", style="dim")
        )
        events = Text("\n".join(self.events[-6:]) or " ")
        return Panel(
            Group(Text(self.phase, style="bold yellow"), Text(), curve, Text(), figures, Text(), events),
            title="stepdown demo · SIMULATED teacher · real gateway, HTTP, learning and certificate",
            border_style="blue",
        )

    def figures(self) -> list[tuple[str, str]]:
        """Return the named figures as text, in the order to be shown."""
        costs = self.status.get("costs", {})
        spent, instead = costs.get("usd", 0.0), costs.get("counterfactual_usd", 0.0)
        saved = f"${instead - spent:,.4f} of ${instead:,.4f}"
        return [
            ("requests", f"{self.served:,} of {self._total:,}, none failed"),
            ("answered by the teacher, recently", f"{self.recent_escalation:.1%} (audits included)"),
            ("local answers equal to the teacher's", _percent(self.recent_agreement) + " recently"),
            ("saved", f"{saved}  ({self._price_note})"),
            (
                "p50 latency",
                f"local {_ms(self._p50_ms(True))} · teacher {_ms(self._p50_ms(False))} (simulated)",
            ),
            ("certificate", self._certificate()),
        ]

    def _p50_ms(self, is_local: bool) -> float | None:
        return statistics.median(self._latency[is_local]) if self._latency[is_local] else None

    def _curve(self) -> str:
        return "".join(
            BLOCKS[round(escalated / seen * (len(BLOCKS) - 1))] if seen else "·"
            for seen, escalated in self._bins
        )

    def _certificate(self) -> str:
        tasks = self.status.get("tasks", [])
        if not tasks:
            return "none yet"
        task = tasks[0]
        if task["stage"] != "live":
            missing = task.get("audits_missing")
            return f"{task['stage']}" + (f", about {missing:,} audits missing" if missing else ", learning")
        return (
            f"v{task['version']}: at most {task['alpha']:.0%} of local answers differ from the teacher, "
            f"with probability {1 - task['delta']:.0%} ({task['audits']:,} audits)"
        )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f} ms"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
