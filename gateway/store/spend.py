"""The money spent, and the price without specialists, summed by day."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec.structs import astuple

from gateway.core import Decision
from gateway.store.database import Database

_SUMS = (
    "requests",
    "prompt_tokens",
    "completion_tokens",
    "usd",
    "counterfactual_usd",
    "would_save_usd",
    "estimated",
    "unpriced",
)
_KEY = ("day", "policy", "task", "model", "decision")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS spend (
    day TEXT NOT NULL,
    policy TEXT NOT NULL,
    task TEXT NOT NULL,
    model TEXT NOT NULL,
    decision TEXT NOT NULL,
    requests INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    usd REAL NOT NULL,
    counterfactual_usd REAL NOT NULL,
    would_save_usd REAL NOT NULL,
    estimated INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    PRIMARY KEY (day, policy, task, model, decision)
);
"""


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over some requests; `counterfactual_usd - usd` was saved.

    `counterfactual_usd` is the teacher's price for all of them, `would_save_usd` the money that
    shadow drafts would have saved if served. `estimated` counts the requests without reported
    token counts, `unpriced` those for a model without a price.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    counterfactual_usd: float = 0.0
    would_save_usd: float = 0.0
    estimated: int = 0
    unpriced: int = 0

    def __add__(self, other: Sums) -> Sums:
        # Written out, because this runs once per request: a loop over the names takes four times as long.
        return Sums(
            requests=self.requests + other.requests,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            usd=self.usd + other.usd,
            counterfactual_usd=self.counterfactual_usd + other.counterfactual_usd,
            would_save_usd=self.would_save_usd + other.would_save_usd,
            estimated=self.estimated + other.estimated,
            unpriced=self.unpriced + other.unpriced,
        )


class Account(msgspec.Struct, frozen=True):
    """The key of a sum. `day` is UTC, as 2026-11-24; `task` is empty for a bypass."""

    day: str
    policy: str
    task: str
    model: str
    decision: Decision


class SpendLog:
    """Adds up spending over all processes and restarts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.create(_SCHEMA)

    def add(self, entries: Iterable[tuple[Account, Sums]]) -> None:
        """Add all of `entries` to their accounts or, if the write fails, none. May block."""
        names = ", ".join((*_KEY, *_SUMS))
        places = ", ".join("?" * (len(_KEY) + len(_SUMS)))
        adding = ", ".join(f"{name} = {name} + excluded.{name}" for name in _SUMS)
        with self._database.write() as connection:
            connection.executemany(
                f"INSERT INTO spend ({names}) VALUES ({places}) "  # noqa: S608
                f"ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET {adding}",
                [astuple(account) + astuple(sums) for account, sums in entries],
            )

    def entries(self, since_day: str = "") -> list[tuple[Account, Sums]]:
        """Return every account from `since_day` (inclusive) on, oldest day first."""
        rows = self._database.read(
            f"SELECT {', '.join((*_KEY, *_SUMS))} FROM spend WHERE day >= ? "  # noqa: S608
            f"ORDER BY {', '.join(_KEY)}",
            (since_day,),
        )
        width = len(_KEY)
        return [(Account(*row[:width]), Sums(**dict(zip(_SUMS, row[width:], strict=True)))) for row in rows]

    def totals(self, since_day: str = "") -> Sums:
        """Return the sums over every account from `since_day` (inclusive) on."""
        return sum((sums for _, sums in self.entries(since_day)), start=Sums())

    def summarize(self) -> dict[str, Any]:
        """Return the sums of all days, and the number of requests by decision, as plain data."""
        by_decision: dict[str, int] = {}
        for account, sums in self.entries():
            by_decision[account.decision] = by_decision.get(account.decision, 0) + sums.requests
        return {**msgspec.to_builtins(self.totals()), "by_decision": by_decision}

    def usd_by_policy(self, day: str) -> dict[str, float]:
        """Return the dollars that each policy spent on one UTC day, over all processes."""
        query = "SELECT policy, sum(usd) FROM spend WHERE day = ? GROUP BY policy"
        return dict(self._database.read(query, (day,)))
