"""The harvest as the settings say: in outboxes alone, or moving from these to parts."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gateway.errors import StepdownError
from gateway.harvest.query import QUERY_COLUMNS, Answer, run_query
from gateway.harvest.reader import HarvestReader
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.harvest.parts.manifests import ManifestLog
    from gateway.harvest.parts.removal import PartsRemoval


def open_harvest(settings: Settings) -> HarvestReader:
    """Return the reader of all rows; nothing is opened before it reads. Raises ConfigError."""
    folder = settings.home.harvest
    if settings.harvest.parts is None:
        return HarvestReader(folder)
    from gateway.harvest.parts.reader import PartsAndOutboxReader

    return PartsAndOutboxReader(folder, open_manifests(settings))


def query_harvest(settings: Settings, sql: str, limit: int | None = None) -> Answer:
    """Return what `sql` selects from the table `rows`. Raises ConfigError."""
    folder = settings.home.harvest
    if settings.harvest.parts is None:
        return run_query(folder, sql, limit)
    from gateway.harvest.parts.query import query_parts
    from gateway.harvest.parts.reader import PartsAndOutboxReader

    log = open_manifests(settings)
    return query_parts(PartsAndOutboxReader(folder, log), log.storage, sql, limit)


def list_query_columns(settings: Settings) -> tuple[str, ...]:
    """Return the columns of the table `rows`, as a query has to write them."""
    if settings.harvest.parts is None:
        return QUERY_COLUMNS
    from gateway.harvest.parts import query

    return query.QUERY_COLUMNS


def open_removal(settings: Settings) -> PartsRemoval | None:
    """Return what removes rows from the parts; None without parts. Hold `lock_parts` meanwhile."""
    if settings.harvest.parts is None:
        return None
    from gateway.harvest.parts.parquet import name_writer
    from gateway.harvest.parts.removal import PartsRemoval

    return PartsRemoval(open_manifests(settings), name_writer(settings.home.harvest))


def open_manifests(settings: Settings) -> ManifestLog:
    """Return the manifests of the parts. Raises ConfigError for a storage that cannot be used."""
    from gateway.harvest.parts.manifests import SETTING, ManifestLog
    from gateway.store.object_storage import open_storage

    return ManifestLog(open_storage(settings.harvest.parts or "", settings.harvest.parts_options, SETTING))


@contextmanager
def lock_parts(settings: Settings) -> Iterator[None]:
    """Hold the right of this home to write parts: one process at a time, freed however it ends.

    Raises StepdownError for an OSError inside, as of a storage that is away.
    """
    settings.home.harvest.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (settings.home.harvest / "parts.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        except OSError as exc:
            raise StepdownError(f"rows could not be moved or removed: {exc}") from exc
