"""Budgets: how many dollars may be spent for whom, and what a request has set aside of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import msgspec

Period = Literal["day", "month"]

_DAY_S = 86_400


class Budget(msgspec.Struct, frozen=True):
    """A limit on dollars per UTC day or month. `name` is that of its counter, the same in all workers."""

    name: str
    period: Period
    usd: float
    policy: str
    warn_share: float = 0.8
    """Once this share is spent, the log says so."""


class Reservation(msgspec.Struct, frozen=True):
    """`usd` set aside in every one of `budgets` until the request's Outcome says what it cost."""

    usd: float
    budgets: tuple[Budget, ...]


def find_period(period: Period, now: float) -> tuple[int, float, float]:
    """Return number, begin and end of the UTC day or month that `now` lies in, in unix seconds."""
    if period == "day":
        number = int(now // _DAY_S)
        return number, float(number * _DAY_S), float((number + 1) * _DAY_S)
    at = datetime.fromtimestamp(now, UTC)
    number = at.year * 12 + at.month - 1
    begins, ends = (datetime(each // 12, each % 12 + 1, 1, tzinfo=UTC) for each in (number, number + 1))
    return number, begins.timestamp(), ends.timestamp()
