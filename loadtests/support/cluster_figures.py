"""What the cluster's load tests measure, beside what it must not exceed."""

from __future__ import annotations

import msgspec


class Figure(msgspec.Struct, frozen=True):
    """One measured number, and what it must not exceed."""

    name: str
    value: float
    bar: float
    unit: str = ""
    note: str = ""

    @property
    def is_kept(self) -> bool:
        """Whether the bar holds."""
        return self.value <= self.bar

    def __str__(self) -> str:
        end = f"  ({self.note})" if self.note else ""
        mark = "" if self.is_kept else "   MISSED"
        return f"{self.name:58}{self.value:9.3f} {self.unit:3} bar {self.bar:g}{end}{mark}"
