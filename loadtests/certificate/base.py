"""What a scenario is given, and what it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from zlib import crc32

import msgspec
import numpy as np
from scipy.stats import beta

from gateway.core import RiskTarget
from loadtests.certificate.students import Student

ALPHA = 0.05
DELTA = 0.10
DAY_S = 86_400.0
TARGET = RiskTarget(ALPHA, DELTA, 30.0)

_CONFIDENCE = 0.95


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What all scenarios have in common."""

    students: Mapping[str, Student]
    seed: int = 0
    draws: int = 200

    def generators(self, name: str) -> list[np.random.Generator]:
        """Return a source of chance for each draw of the part called `name`."""
        return [np.random.default_rng([self.seed, crc32(name.encode()), draw]) for draw in range(self.draws)]


class Rate(msgspec.Struct, frozen=True):
    """How many of the draws something happened in."""

    count: int
    draws: int

    @classmethod
    def of(cls, draws: Iterable[object]) -> Rate:
        """Return how many of `draws` are true."""
        flags = [bool(draw) for draw in draws]
        return cls(sum(flags), len(flags))

    @property
    def share(self) -> float:
        """The observed rate."""
        return self.count / self.draws

    @property
    def interval(self) -> tuple[float, float]:
        """The two-sided 95 % interval. Source: Clopper and Pearson 1934."""
        tail = (1.0 - _CONFIDENCE) / 2
        low = float(beta.ppf(tail, self.count, self.draws - self.count + 1)) if self.count else 0.0
        is_all = self.count == self.draws
        high = 1.0 if is_all else float(beta.ppf(1 - tail, self.count + 1, self.draws - self.count))
        return low, high

    def may_be_at_most(self, bar: float) -> bool:
        """Whether the draws are compatible with a true rate of at most `bar`."""
        return self.interval[0] <= bar

    def __str__(self) -> str:
        low, high = self.interval
        return f"{100 * self.share:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table. `holds` is None where there is no bar, or nothing to measure yet."""

    scenario: str
    bar: str
    measured: str
    holds: bool | None = None
    figures: dict[str, float] = {}


Scenario = Callable[[Setting], list[Row]]


def percent(share: float, digits: int = 0) -> str:
    """Return `share` as text, 0.05 as "5 %"."""
    return f"{100 * share:.{digits}f} %"
