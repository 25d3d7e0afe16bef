"""What each task's specialist is allowed to do, in memory and on disk."""

from __future__ import annotations

import msgspec

from gateway.core import Certification
from gateway.store.database import Database
from gateway.store.quarantine import Quarantine

_SCHEMA = """
CREATE TABLE IF NOT EXISTS certifications (
    task TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    body TEXT NOT NULL
);
"""
_UPSERT = """
INSERT INTO certifications VALUES (?, ?, ?)
ON CONFLICT (task) DO UPDATE SET epoch = excluded.epoch, body = excluded.body
"""


class CertificationStore:
    """Every certification, in memory for the request path and on disk for the other processes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: tuple[int, int] | None = None
        self._certifications: dict[str, Certification] = {}
        self._quarantine = Quarantine("certifications", "the teacher answers for this task")
        database.create(_SCHEMA)
        self.refresh()

    @property
    def are_known(self) -> bool:
        """Whether nothing was forgotten since they were read."""
        return self._seen is not None

    def of(self, task: str) -> Certification:
        """Return the certification of `task`; an empty one if it is unknown. Never blocks."""
        return self._certifications.get(task) or Certification(task=task)

    def all(self) -> list[Certification]:
        """Return every certification as last refreshed, by task."""
        return [certification for _, certification in sorted(self._certifications.items())]

    def put(self, certification: Certification) -> None:
        """Replace a certification, whatever it was. May block."""
        with self._database.write() as connection:
            connection.execute(_UPSERT, _row(certification))
        self.refresh()

    def put_if(self, epoch: int, certification: Certification) -> bool:
        """Replace a certification only while it is still of `epoch`; return whether it was.

        An unknown one is of epoch 0. So of two workers that see the same alarm one writes it, and
        a certificate made before an alarm cannot undo the alarm. May block.
        """
        with self._database.write() as connection:
            found = connection.execute(
                "SELECT epoch FROM certifications WHERE task = ?", (certification.task,)
            ).fetchone()
            is_current = (found[0] if found else 0) == epoch
            if is_current:
                connection.execute(_UPSERT, _row(certification))
        self.refresh()
        return is_current

    def refresh(self) -> None:
        """Read what other processes stored; may block."""
        version = self._database.data_version()
        if version != self._seen:
            rows = self._database.read("SELECT task, body FROM certifications")
            read = self._quarantine.read_rows(rows, _read_body)
            self._certifications = {certification.task: certification for certification in read}
            self._seen = version

    def forget(self) -> None:
        """Know no certification until the next `refresh` that succeeds: what is known may hold no longer."""
        self._certifications, self._seen = {}, None


def _read_body(row: tuple[str, str]) -> Certification:
    return msgspec.json.decode(row[1], type=Certification)


def _row(certification: Certification) -> tuple[str, int, str]:
    body = msgspec.json.encode(certification).decode()
    return certification.task, certification.epoch, body
