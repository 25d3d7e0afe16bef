"""The money spent, and the price without specialists, summed by day: kept for ever."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from msgspec.structs import astuple

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
    "cached_tokens",
    "reasoning_tokens",
    "hedge_usd",
    "unknown_usd",
)
_KEY = ("day", "policy", "task", "model", "decision", "tenant", "key", "endpoint")
_INTEGERS = frozenset(
    {
        "requests",
        "prompt_tokens",
        "completion_tokens",
        "estimated",
        "unpriced",
        "cached_tokens",
        "reasoning_tokens",
    }
)
_COLUMNS = ", ".join(
    [f"{name} TEXT NOT NULL" for name in _KEY]
    + [f"{name} {'INTEGER' if name in _INTEGERS else 'REAL'} NOT NULL" for name in _SUMS]
)
_SCHEMA = f"CREATE TABLE IF NOT EXISTS daily_costs ({_COLUMNS}, PRIMARY KEY ({', '.join(_KEY)}))"
# The table of versions that knew neither tenants nor keys.
_OLD = "spend"
_OLD_COLUMNS = (*_KEY[:5], *_SUMS[:8])


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over some requests; `counterfactual_usd - usd` was saved.

    `counterfactual_usd` is the teacher's price for all of them, net of its prompt cache,
    `would_save_usd` the money that shadow drafts would have saved if served. `estimated` counts the
    requests without reported token counts, `unpriced` those that named a model without a price; of
    `usd`, `unknown_usd` was booked at the price of unknown models, and `hedge_usd` for teachers asked
    beside drafts that were served.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    counterfactual_usd: float = 0.0
    would_save_usd: float = 0.0
    estimated: int = 0
    unpriced: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    hedge_usd: float = 0.0
    unknown_usd: float = 0.0

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
            cached_tokens=self.cached_tokens + other.cached_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            hedge_usd=self.hedge_usd + other.hedge_usd,
            unknown_usd=self.unknown_usd + other.unknown_usd,
        )


class Account(msgspec.Struct, frozen=True):
    """The key of a sum. `day` is UTC, as 2026-11-24; `task` is empty for a bypass.

    `model` is the one of the price, `key` the caller, `endpoint` a path of the table of endpoints.
    """

    day: str
    policy: str
    task: str
    model: str
    decision: str
    tenant: str = ""
    key: str = ""
    endpoint: str = ""


class SpendLog:
    """Adds up spending over all processes and restarts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.create(_SCHEMA)
        self._take_over_old()

    def add(self, entries: Iterable[tuple[Account, Sums]]) -> None:
        """Add all of `entries` to their accounts or, if the write fails, none. May block."""
        names = ", ".join((*_KEY, *_SUMS))
        places = ", ".join("?" * (len(_KEY) + len(_SUMS)))
        adding = ", ".join(f"{name} = {name} + excluded.{name}" for name in _SUMS)
        with self._database.write() as connection:
            connection.executemany(
                f"INSERT INTO daily_costs ({names}) VALUES ({places}) "  # noqa: S608
                f"ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET {adding}",
                [astuple(account) + astuple(sums) for account, sums in entries],
            )

    def entries(self, since_day: str = "", until_day: str = "9999") -> list[tuple[Account, Sums]]:
        """Return every account from `since_day` (inclusive) to `until_day` (exclusive), oldest day first."""
        rows = self._database.read(
            f"SELECT {', '.join((*_KEY, *_SUMS))} FROM daily_costs WHERE day >= ? AND day < ? "  # noqa: S608
            f"ORDER BY {', '.join(_KEY)}",
            (since_day, until_day),
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

    def usd_by_owner(
        self, day: str, policy: str, owner: Literal["policy", "tenant", "key"]
    ) -> dict[str, float]:
        """Return what the requests of one policy cost on a UTC day or in a month, by tenant or key.

        For "policy" it is one sum, under the empty name.
        """
        name = "''" if owner == "policy" else owner
        # "2026-11" and all days that begin like it.
        query = (
            f"SELECT {name}, sum(usd) FROM daily_costs "  # noqa: S608
            "WHERE day >= ? AND day <= ? AND policy = ? GROUP BY 1"
        )
        return dict(self._database.read(query, (day, f"{day}~", policy)))

    def _take_over_old(self) -> None:
        """Move the sums of an older version over, once, whichever process comes first."""
        if not self._database.has_table(_OLD):
            return
        names = ", ".join(_OLD_COLUMNS)
        rest = ", ".join("''" for _ in _KEY[5:]) + ", " + ", ".join("0" for _ in _SUMS[8:])
        with self._database.write() as connection:
            found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (_OLD,)).fetchone()
            if found is None:
                return
            adding = ", ".join(f"{name} = {name} + excluded.{name}" for name in _SUMS[:8])
            connection.execute(
                f"INSERT INTO daily_costs ({names}, {', '.join((*_KEY[5:], *_SUMS[8:]))}) "  # noqa: S608
                f"SELECT {names}, {rest} FROM {_OLD} WHERE true "
                f"ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET {adding}"
            )
            connection.execute(f"DROP TABLE {_OLD}")
