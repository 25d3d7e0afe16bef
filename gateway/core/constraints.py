"""What a specialist takes, and what it may take: time and memory."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Positive = Annotated[float, Meta(gt=0)]


class Footprint(msgspec.Struct, frozen=True, kw_only=True):
    """What a version takes, measured when it was made, in a process with nothing else to do.

    On texts that it has not learnt and cannot be quick with: real traffic takes less.
    """

    p50_ms: float
    """Of a draft, alone, over texts: the quickest of three tries of each."""
    p99_ms: float
    cpu_ms: float
    """CPU of a draft, over all threads and processes of this machine."""
    load_ms: float
    """From its files to the first draft, once the encoder is there."""
    memory_mb: float
    """The most that a process took which served this version alone, its encoder or base included."""

    def describe(self) -> str:
        """Return what decides whether it may serve, for reports."""
        return f"{self.p99_ms:.1f} ms and {self.memory_mb:.0f} MB"


class Constraints(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What specialists may take. A version that takes more is not promoted."""

    max_latency_ms: Positive | None = None
    """Of a draft alone, p99 as measured when the version is made. While serving: from the request's arrival
    on; whatever has no draft by then goes to the teacher. None: `specialists.budget_ms` alone."""
    max_memory_mb: Positive | None = None
    """Of a process that serves the version alone, encoder or base included; what a server elsewhere takes for
    it is not counted. None: no limit."""

    def excess(self, footprint: Footprint | None) -> str:
        """Return why a version of this footprint may not serve, short and countable; empty if it may.

        What was not measured may take anything.
        """
        if self == UNCONSTRAINED:
            return ""
        if footprint is None:
            return "specialist not measured"
        if self.max_latency_ms is not None and footprint.p99_ms > self.max_latency_ms:
            return "specialist too slow"
        if self.max_memory_mb is not None and footprint.memory_mb > self.max_memory_mb:
            return "specialist too large"
        return ""

    def describe(self) -> str:
        """Return them for reports."""
        named = ((self.max_latency_ms, "ms"), (self.max_memory_mb, "MB"))
        return " and ".join(f"{most:g} {unit}" for most, unit in named if most is not None) or "anything"

    def strictest(self, other: Constraints) -> Constraints:
        """Return the limits that hold both."""
        return Constraints(
            max_latency_ms=_least(self.max_latency_ms, other.max_latency_ms),
            max_memory_mb=_least(self.max_memory_mb, other.max_memory_mb),
        )


UNCONSTRAINED = Constraints()


def _least(one: float | None, other: float | None) -> float | None:
    return min((each for each in (one, other) if each is not None), default=None)
