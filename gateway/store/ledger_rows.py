"""One row per request: what it took and cost. The newest are kept; the sums by day are kept for ever."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from msgspec.structs import astuple

from gateway.core import Decision
from gateway.store.database import Database, insert_rows
from gateway.store.spend import Account, Sums

# Rows of about 250 bytes.
KEPT_ROWS = 400_000
# Looking for rows to delete costs as much as writing some hundred.
PRUNE_EVERY_ROWS = 20_000
_BATCH = 2_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS ledger (
    number INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    request_id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    policy TEXT NOT NULL,
    task TEXT NOT NULL,
    decision TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    requested TEXT NOT NULL,
    model TEXT NOT NULL,
    tier TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    other_units TEXT NOT NULL,
    usd REAL NOT NULL,
    counterfactual_usd REAL NOT NULL,
    would_save_usd REAL NOT NULL,
    hedge_usd REAL NOT NULL,
    source TEXT NOT NULL,
    price TEXT NOT NULL
);
"""


class LedgerRow(msgspec.Struct, frozen=True):
    """One request, or one later report of what an earlier one took."""

    at: float
    request_id: str
    tenant: str
    key: str
    policy: str
    task: str
    decision: Decision
    endpoint: str
    requested: str
    """The model that was asked for."""
    model: str
    """The model whose price was taken."""
    tier: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    other_units: str
    """Audio, images, searches and the like, as a JSON object; empty if there are none."""
    usd: float
    counterfactual_usd: float
    would_save_usd: float
    hedge_usd: float
    source: str
    """reported, estimated, or none for what the teacher does not bill."""
    price: str
    """listed, alias (only the answering model has a price), or unknown."""

    def account(self, day: str, model: str | None = None) -> Account:
        """Return the account of the row on `day`, under another name of its model if one is given."""
        return Account(
            day,
            self.policy,
            self.task,
            self.model if model is None else model,
            self.decision,
            self.tenant,
            self.key,
            self.endpoint,
        )

    def sums(self) -> Sums:
        """Return what the row adds to its account."""
        return Sums(
            requests=1,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            usd=self.usd,
            counterfactual_usd=self.counterfactual_usd,
            would_save_usd=self.would_save_usd,
            estimated=int(self.source == "estimated"),
            unpriced=int(self.price != "listed"),
            cached_tokens=self.cached_tokens,
            reasoning_tokens=self.reasoning_tokens,
            hedge_usd=self.hedge_usd,
            unknown_usd=self.usd if self.price == "unknown" else 0.0,
        )


_NAMES = LedgerRow.__struct_fields__


class LedgerRows:
    """The newest KEPT_ROWS rows of all processes; older ones are deleted."""

    def __init__(self, database: Database, kept: int = KEPT_ROWS) -> None:
        self._database = database
        self._kept = kept
        # The first write prunes, so that short runs do it, too.
        self._until_pruning = 0
        database.create(_SCHEMA)

    def add(self, rows: Sequence[LedgerRow]) -> None:
        """Write all of `rows` or, if that fails, none. May block."""
        with self._database.write() as connection:
            insert_rows(connection, "ledger", _NAMES, [astuple(row) for row in rows])
        self._until_pruning -= len(rows)
        if self._until_pruning <= 0:
            self._until_pruning = min(PRUNE_EVERY_ROWS, self._kept)
            self._prune()

    def count(self) -> int:
        """Return how many rows there are."""
        return int(self._database.read("SELECT count(*) FROM ledger")[0][0])

    def iterate(self, since: float = 0.0, until: float = float("inf")) -> Iterator[LedgerRow]:
        """Yield the rows from `since` to before `until`, in unix seconds, in the order of writing."""
        number = 0
        while True:
            rows = self._database.read(
                f"SELECT number, {', '.join(_NAMES)} FROM ledger "  # noqa: S608
                "WHERE number > ? AND at >= ? AND at < ? ORDER BY number LIMIT ?",
                (number, since, min(until, 1e300), _BATCH),
            )
            for row in rows:
                yield LedgerRow(*row[1:])
            if len(rows) < _BATCH:
                return
            number = rows[-1][0]

    def begins_at(self) -> float | None:
        """Return when the oldest row was written that is kept, in unix seconds; None without any."""
        rows = self._database.read("SELECT at FROM ledger ORDER BY number LIMIT 1")
        return float(rows[0][0]) if rows else None

    def has_dropped(self) -> bool:
        """Return whether older rows were deleted."""
        rows = self._database.read("SELECT min(number) FROM ledger")
        return bool(rows and (rows[0][0] or 1) > 1)

    def _prune(self) -> None:
        with self._database.write() as connection:
            connection.execute(
                "DELETE FROM ledger WHERE number <= (SELECT max(number) FROM ledger) - ?", (self._kept,)
            )
