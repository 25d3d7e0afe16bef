"""Budgets: how many dollars may be spent for whom, and what a request has set aside of them."""

from __future__ import annotations

from typing import Literal

import msgspec

Period = Literal["day", "month"]


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
