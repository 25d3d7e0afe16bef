"""Shipping: rows leave an outbox for parts, once, wherever the process is killed.

In this order: the parts are written, a manifest names them together with the number of the last row, the
outbox deletes up to that number. Killed before the manifest, the parts are files that nothing names, and the
next attempt writes others; killed after it, the number tells the next attempt what to delete.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gateway.harvest.base import Row, measure_texts
from gateway.harvest.origins import Origin, find_shipped, read_origins
from gateway.harvest.parts.base import Manifest, Part, Table
from gateway.harvest.parts.columns import StoredRow
from gateway.harvest.parts.manifests import ManifestLog
from gateway.harvest.parts.parquet import (
    day_of,
    name_part,
    name_writer,
    open_duckdb,
    open_scratch,
    write_part,
)
from gateway.harvest.reader import open_outbox
from gateway.harvest.row_reader import RowReader
from gateway.harvest.table import create, delete_shipped, set_aside
from gateway.store.database import Database
from gateway.store.quarantine import Quarantine

logger = logging.getLogger(__name__)

BATCH_ROWS = 10_000
"""Rows of one outbox that move at once; they are in memory meanwhile."""
_MOST_BYTES = 64 << 20
"""Of the texts of one batch."""
NAMED_WITHIN_S = 3_600.0
"""Parts that no manifest names for much longer are taken for litter, see `compaction`."""
_LEFT_OVER = "SELECT 1 FROM rows WHERE id <= ? AND id NOT IN (SELECT id FROM set_aside) LIMIT 1"


class _Batch(msgspec.Struct, frozen=True, kw_only=True):
    """The next rows of one name, and those among them that cannot be read."""

    name: str
    last: int
    rows: list[StoredRow]
    set_aside: list[int]
    known: int = 0
    """The number that manifests told of this name when it was read."""


class Shipper:
    """Ships the outboxes of a folder; one process per folder at a time. `ship_all` may block for seconds."""

    def __init__(self, folder: Path, log: ManifestLog, batch_rows: int = BATCH_ROWS) -> None:
        self._folder = folder
        self._log = log
        self._batch_rows = batch_rows
        self._writer = name_writer(folder)

    def ship_all(self) -> int:
        """Ship what every outbox holds now; return how many rows. Raises OSError if the storage fails."""
        return sum(self._ship_file(path) for path in sorted(self._folder.glob("worker-*.db")))

    def _ship_file(self, path: Path) -> int:
        database = Database(path, synchronous="FULL")
        try:
            create(database)
            # A row that lives on in a part may be forgotten there: no second copy in free pages here.
            database.wipe_deletions()
            rows = 0
            while batch := self._read_batch(database):
                set_aside(database, batch.set_aside)
                if self._ship(batch):
                    rows += len(batch.rows)
                    self._clear(database, batch.last)
            return rows
        finally:
            database.close()

    def _read_batch(self, database: Database) -> _Batch | None:
        """Return the next rows that no manifest names; None if there are none."""
        table = self._log.refresh()
        with open_outbox(database.path) as connection:
            origins = read_origins(connection)
            shipped = find_shipped(origins, table.shipped)
            is_left_over = connection.execute(_LEFT_OVER, (shipped,)).fetchone()
            batch = self._read_rows(connection, origins, shipped, database.path.name)
        if is_left_over:
            # A process that was killed between its manifest and this has left them here.
            self._clear(database, shipped)
        if batch is None:
            return None
        return msgspec.structs.replace(batch, known=table.shipped.get(batch.name, 0))

    def _read_rows(
        self, connection: sqlite3.Connection, origins: Sequence[Origin], shipped: int, file: str
    ) -> _Batch | None:
        reader = RowReader(connection)
        quarantine = Quarantine(file, "it stays in the outbox")
        numbers: list[int] = []
        rows: list[StoredRow] = []
        size, origin = 0, origins[-1]
        for record in self._find_records(connection, reader, shipped):
            number = record[0]
            if not numbers:
                origin = next(each for each in origins if each.first <= number <= each.last)
            if number > origin.last or size > _MOST_BYTES:
                # A batch has rows of one name: the number in its manifest is that name's.
                break
            numbers.append(number)
            for row in quarantine.read_rows([record], lambda one: _checked(reader.row_from(one[1:]))):
                rows.append(StoredRow(origin.name, number, row))
                size += measure_texts(row)
        if not numbers:
            return None
        readable = {one.number for one in rows}
        return _Batch(
            name=origin.name,
            last=numbers[-1],
            rows=rows,
            set_aside=[number for number in numbers if number not in readable],
        )

    def _find_records(
        self, connection: sqlite3.Connection, reader: RowReader, shipped: int
    ) -> Iterable[Sequence[Any]]:
        columns = reader.list_columns(with_messages=True)
        return connection.execute(
            f"SELECT id, {columns} FROM rows WHERE id > ? ORDER BY id LIMIT ?",  # noqa: S608
            (shipped, self._batch_rows),
        )

    def _ship(self, batch: _Batch) -> bool:
        """Write the parts of `batch` and name them; False if another process was quicker."""
        give_up_at = time.monotonic() + NAMED_WITHIN_S
        parts = self._write_parts(batch.rows)
        manifest = msgspec.structs.replace(
            self._log.create_manifest("ship"), adds=tuple(parts), shipped={batch.name: batch.last}
        )

        def name_parts(table: Table) -> Manifest | None:
            is_next = table.shipped.get(batch.name, 0) == batch.known
            return manifest if is_next and time.monotonic() < give_up_at else None

        if self._log.commit(name_parts):
            return True
        for part in parts:
            self._log.storage.delete(part.path)
        return False

    def _write_parts(self, rows: Sequence[StoredRow]) -> list[Part]:
        groups: dict[tuple[str, str], list[StoredRow]] = {}
        for one in rows:
            groups.setdefault((one.row.task, day_of(one.row.at)), []).append(one)
        parts = []
        with open_scratch() as target, open_duckdb() as connection:
            for (task, day), some in groups.items():
                part = write_part(connection, some, target, name_part(task, day, self._writer))
                self._log.storage.upload(target, part.path)
                parts.append(part)
        return parts

    def _clear(self, database: Database, last: int) -> None:
        with database.write() as connection:
            delete_shipped(connection, last)


def _checked(row: Row) -> Row:
    """Return `row`. Raises UnicodeDecodeError if its JSON is no text, which Parquet could not hold."""
    for content in (row.tools, row.response_format, row.reply):
        content.decode()
    return row
