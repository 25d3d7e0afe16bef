"""`harvest export`: rows in the format of a trainer, to a file for its owner alone."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

from gateway.cli import OK
from gateway.config import plugins
from gateway.errors import ConfigError
from gateway.finops.periods import parse_past
from gateway.harvest.base import Format, Row
from gateway.harvest.dataset import select_rows, write_dataset
from gateway.harvest.exports import Export, note_export
from gateway.harvest.reader import HarvestReader
from gateway.store.home import Home


def export_rows(home: Home, arguments: argparse.Namespace) -> int:
    """Write the rows that the options name, to a file or as a data set."""
    reader = HarvestReader(home.harvest)
    form = plugins.load_plugin("gateway.harvest.formats", arguments.format)
    tasks = _list_tasks(reader, arguments.task)
    rows = [row for task in tasks for row in reader.rows(task).rows]
    if arguments.dataset is not None:
        written, path, said = _write_dataset(form, rows, arguments), arguments.dataset, "rows in a data set"
    else:
        written, path = _write_file(form, rows, arguments), arguments.out
        said = _describe(written, rows, with_held_out=arguments.with_audits)
    if home.folder.is_dir():
        target = str(path.absolute()) if path else ""
        note_export(
            home, Export(at=time.time(), path=target, format=arguments.format, tasks=tasks, rows=written)
        )
    print(f"{written:,} {said}", file=sys.stderr)
    return OK


def _write_file(form: Format, rows: list[Row], arguments: argparse.Namespace) -> int:
    if arguments.as_of:
        as_of = parse_past(arguments.as_of, time.time())
        rows[:] = [row for row in rows if row.at <= as_of]
    with _open_target(arguments.out) as stream:
        return form.write(rows, stream, with_held_out=arguments.with_audits)


def _write_dataset(form: Format, rows: list[Row], arguments: argparse.Namespace) -> int:
    if arguments.with_audits or arguments.out:
        raise ConfigError(
            "--dataset goes with neither --with-audits nor --out: its splits never hold evidence"
        )
    if arguments.as_of:
        as_of = parse_past(arguments.as_of, time.time())
    else:
        as_of = max((row.at for row in rows), default=0.0)
    folder = arguments.dataset
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(f"--dataset {folder}: {exc.strerror}") from exc
    if any(folder.iterdir()):
        raise ConfigError(f"--dataset {folder}: not empty; a data set is never written over another")
    selected = select_rows(rows, as_of, arguments.validation_share)
    return sum(write_dataset(folder, form, arguments.format, selected, as_of).values())


def _list_tasks(reader: HarvestReader, asked: list[str] | None) -> tuple[str, ...]:
    known = reader.counts()
    if unknown := [task for task in asked or () if task not in known]:
        raise ConfigError(f"no rows of task '{unknown[0]}'; known: {', '.join(sorted(known)) or 'none yet'}")
    return tuple(asked or sorted(known))


def _describe(written: int, rows: list[Row], *, with_held_out: bool) -> str:
    held_out = 0 if with_held_out else sum(row.is_held_out for row in rows)
    left_out = len(rows) - held_out - written
    said = "rows"
    if held_out:
        said += f"; {held_out:,} held out as evidence stay (--with-audits)"
    if left_out > 0:
        said += f"; {left_out:,} that this format cannot hold"
    return said


def _open_target(out: Path | None) -> AbstractContextManager[BinaryIO]:
    if out is None:
        return nullcontext(sys.stdout.buffer)
    try:
        return out.open("wb")
    except OSError as exc:
        raise ConfigError(f"--out {out}: {exc.strerror}") from exc
