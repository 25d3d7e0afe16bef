"""What happened in one run, as seen from outside: the invariants speak of nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.core import Limits, Outcome, Reading
from gateway.harvest.base import Row
from tests.simulation.teacher import Taught


@dataclass
class Exchange:
    """One request, and what its client saw of the answer. Times are virtual seconds."""

    number: int
    worker: int
    key: str
    is_streamed: bool
    sent_at: float = 0.0
    was_at_closed_door: bool = False
    admitted_at: float | None = None
    left_at: float | None = None
    heads: list[int] = field(default_factory=list)
    body: bytes = b""
    is_finished: bool = False
    sent_after_the_end: int = 0
    ended_at: float | None = None

    @property
    def stayed(self) -> bool:
        """Whether its client waited for the end."""
        return self.left_at is None

    @property
    def status(self) -> int:
        """The status of its answer, 0 without one."""
        return self.heads[0] if self.heads else 0

    @property
    def events(self) -> list[bytes]:
        """The data of the events of its stream."""
        return [event[6:] for event in self.body.split(b"\n\n") if event.startswith(b"data: ")]

    @property
    def is_error_told(self) -> bool:
        """Whether its client knows that there is no whole answer: by status, event or a cut connection."""
        if self.status >= 400 or not self.is_finished:
            return True
        return self.is_streamed and bool(self.events) and self.events[-1].startswith(b'{"error"')

    @property
    def has_finish(self) -> bool:
        """Whether its stream ended with a finish reason; only usage and [DONE] may follow it."""
        last = [event for event in self.events if event != b"[DONE]" and b'"choices": []' not in event][-1:]
        return bool(last) and b'"finish_reason":"stop"' in last[0].replace(b": ", b":")

    @property
    def looks_whole(self) -> bool:
        """Whether its client takes the answer for a whole one."""
        if not self.is_finished or self.status != 200:
            return False
        return not self.is_streamed or self.has_finish


@dataclass
class Verdict:
    """A draft that the gate let pass."""

    number: int
    at: float


@dataclass
class Leftovers:
    """What each worker still holds when all is over."""

    in_flight: int
    by_caller: dict[str, int]
    under_way: float
    reserved_usd: dict[str, float]
    waiting: int


@dataclass
class History:
    """One run from its start to its end."""

    seed: int
    limits: dict[str, Limits]
    """Of each key."""
    tenants: dict[str, str]
    """Of each key."""
    tasks: dict[str, str]
    """Of each tenant."""
    thresholds: dict[str, float]
    """Of each stratum."""
    policy_usd: float
    drain_s: float
    exchanges: list[Exchange] = field(default_factory=list)
    outcomes: list[tuple[Outcome, Reading]] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    held_out: set[int] = field(default_factory=set)
    with_bug: set[int] = field(default_factory=set)
    """Requests whose draft raised an exception that no one expects."""
    rows: list[Row] = field(default_factory=list)
    calls: list[Taught] = field(default_factory=list)
    alarms: dict[str, float] = field(default_factory=dict)
    """When each task's alarm was given."""
    drains: dict[int, float] = field(default_factory=dict)
    """When each worker's doors were to be closed."""
    spent_usd: dict[str, float] = field(default_factory=dict)
    """Of each budget, as settled."""
    ledger_usd: float = 0.0
    """On disk, at the end."""
    open_streams: int = 0
    leftovers: list[Leftovers] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """What the event loop was told of exceptions that nobody took."""
    trace: list[str] = field(default_factory=list)
