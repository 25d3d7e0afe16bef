"""`harvest export`: rows in the format of a trainer, to a file for its owner alone."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from gateway.cli import OK
from gateway.cli.harvest.export_target import open_file, open_folder
from gateway.config import plugins
from gateway.distill.verdicts import apply_verdicts
from gateway.errors import ConfigError
from gateway.finops.periods import parse_past
from gateway.harvest.base import Format, Row
from gateway.harvest.dataset import select_rows, write_dataset
from gateway.harvest.exports import Export, note_export
from gateway.harvest.reader import HarvestReader
from gateway.processes.harvest_access import open_harvest
from gateway.settings import Settings
from gateway.store.home import Home
from gateway.store.reviews import Verdict
from gateway.store.state import open_state, record_change
from gateway.store.task_lookup import find_task


def export_rows(settings: Settings, arguments: argparse.Namespace) -> int:
    """Write the rows that the options name, to a file or as a data set."""
    home = settings.home
    reader = open_harvest(settings)
    form = plugins.load_plugin("gateway.harvest.formats", arguments.format)
    tasks = _list_tasks(home, reader, arguments.task)
    as_of = parse_past(arguments.as_of, time.time()) if arguments.as_of else math.inf
    if home.folder.is_dir():
        target = arguments.dataset or arguments.out
        record_change(
            home,
            "harvest export",
            str(target.absolute()) if target else "standard output",
            format=arguments.format,
            tasks=tasks,
        )
    # One task at a time: a harvest may be larger than the memory.
    verdicts = _read_verdicts(home, tasks, as_of)
    read = (apply_verdicts(reader.rows(task).rows, verdicts.get(task, ())) for task in tasks)
    found = (row for some in read for row in some if row.at <= as_of)
    rows = found if arguments.accept_terms else _refuse_restricted(found)
    if arguments.dataset is not None:
        given = [verdict.at for some in verdicts.values() for verdict in some]
        written = _write_dataset(form, list(rows), as_of, given, arguments)
        path, said = arguments.dataset, ""
    else:
        (written, said), path = _write_file(form, rows, arguments), arguments.out
    if home.folder.is_dir():
        target = str(path.absolute()) if path else ""
        note_export(
            home, Export(at=time.time(), path=target, format=arguments.format, tasks=tasks, rows=written)
        )
    # Standard output may be the export itself.
    print(json.dumps({"rows": written}) if arguments.json else f"{written:,} rows{said}", file=sys.stderr)
    return OK


def _read_verdicts(home: Home, tasks: Sequence[str], as_of: float) -> dict[str, list[Verdict]]:
    if not home.state_db.exists():
        return {}
    with open_state(home) as state:
        return {task: state.reviews.verdicts(task, as_of) for task in tasks}


def _refuse_restricted(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield `rows`. Raises ConfigError at the first whose teacher restricts its use."""
    for row in rows:
        if row.is_restricted:
            raise ConfigError(
                f"the terms of the teacher of '{row.task}' restrict what its answers may be used for "
                "(`trainable = restricted`): read them, then say --accept-terms"
            )
        yield row


def _write_file(form: Format, rows: Iterable[Row], arguments: argparse.Namespace) -> tuple[int, str]:
    """Return how many rows were written, and in words why others were not."""
    seen: Counter[bool] = Counter()

    def count() -> Iterator[Row]:
        for row in rows:
            seen[row.is_held_out and not arguments.with_audits] += 1
            yield row

    with open_file(arguments.out) as stream:
        written = form.write(count(), stream, with_held_out=arguments.with_audits)
    said = f"; {seen[True]:,} held out as evidence stay (--with-audits)" if seen[True] else ""
    left_out = seen[False] - written
    return written, said + (f"; {left_out:,} {form.LEFT_OUT} stay" if left_out > 0 else "")


def _write_dataset(
    form: Format, rows: list[Row], as_of: float, verdicts_at: list[float], arguments: argparse.Namespace
) -> int:
    if arguments.with_audits or arguments.out:
        raise ConfigError(
            "--dataset goes with neither --with-audits nor --out: its splits never hold evidence"
        )
    if math.isinf(as_of):
        # The earliest time at which the same rows would be found so, whoever asks for it again.
        as_of = max([*(row.at for row in rows), *verdicts_at], default=0.0)
    with open_folder(arguments.dataset) as folder:
        selected = select_rows(rows, as_of, arguments.validation_share)
        return sum(write_dataset(folder, form, arguments.format, selected, as_of).values())


def _list_tasks(home: Home, reader: HarvestReader, asked: list[str] | None) -> tuple[str, ...]:
    """Return the ids of the tasks that were asked for by id or name, all that have rows without any."""
    known = reader.counts()
    if asked and home.state_db.exists():
        with open_state(home) as state:
            asked = [task if task in known else find_task(state, task, known) for task in asked]
    if unknown := [task for task in asked or () if task not in known]:
        raise ConfigError(f"no rows of task '{unknown[0]}'; known: {', '.join(sorted(known)) or 'none yet'}")
    return tuple(dict.fromkeys(asked or sorted(known)))
