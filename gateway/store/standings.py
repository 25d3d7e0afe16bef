"""The standings: what the specialist of each task may do, lane by lane."""

from __future__ import annotations

import msgspec

from gateway.core import Lane, Route, Standing
from gateway.store.database import Database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS standings (
    task TEXT NOT NULL,
    lane TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (task, lane)
);
"""
_UPSERT = """
INSERT INTO standings VALUES (?, ?, ?, ?)
ON CONFLICT (task, lane) DO UPDATE SET epoch = excluded.epoch, body = excluded.body
"""


class StandingStore:
    """Every standing: in memory for this process, on disk for the others."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: tuple[int, int] | None = None
        self._standings: dict[tuple[str, Lane], Standing] = {}
        database.create(_SCHEMA)
        self.refresh()

    def of(self, route: Route) -> Standing:
        """Return the standing of a task in a lane; a shadow without version if unknown. Never blocks."""
        known = self._standings.get((route.task, route.lane))
        return known or Standing(task=route.task, lane=route.lane)

    def all(self) -> list[Standing]:
        """Return every standing as last refreshed, sorted by task and lane."""
        return [standing for _, standing in sorted(self._standings.items())]

    def put(self, standing: Standing) -> None:
        """Replace a standing unconditionally. May block."""
        with self._database.write() as connection:
            connection.execute(_UPSERT, _to_row(standing))
        self.refresh()

    def put_if(self, epoch: int, standing: Standing) -> bool:
        """Replace a standing only if its stored epoch is still `epoch`; return whether it was.

        An unknown standing has epoch 0. Of two workers that see the same alarm, one writes it,
        and a certificate from before an alarm cannot undo the alarm. May block.
        """
        with self._database.write() as connection:
            found = connection.execute(
                "SELECT epoch FROM standings WHERE task = ? AND lane = ?", (standing.task, standing.lane)
            ).fetchone()
            is_current = (found[0] if found else 0) == epoch
            if is_current:
                connection.execute(_UPSERT, _to_row(standing))
        self.refresh()
        return is_current

    def refresh(self) -> None:
        """Read what other processes put; may block."""
        version = self._database.data_version()
        if version != self._seen:
            standings = [
                msgspec.json.decode(body, type=Standing)
                for (body,) in self._database.read("SELECT body FROM standings")
            ]
            self._standings = {(standing.task, standing.lane): standing for standing in standings}
            self._seen = version


def _to_row(standing: Standing) -> tuple[str, str, int, str]:
    body = msgspec.json.encode(standing).decode()
    return standing.task, standing.lane, standing.epoch, body
