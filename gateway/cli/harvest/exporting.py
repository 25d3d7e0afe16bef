"""`harvest export`: rows in the format of a trainer, to a file for its owner alone."""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

from gateway.cli import OK
from gateway.config import plugins
from gateway.errors import ConfigError
from gateway.harvest.exports import Export, note_export
from gateway.harvest.reader import HarvestReader
from gateway.store.home import Home


def export_rows(home: Home, arguments: argparse.Namespace) -> int:
    """Write the rows that the options name."""
    reader = HarvestReader(home.harvest)
    form = plugins.load_plugin("gateway.harvest.formats", arguments.format)
    tasks = _list_tasks(reader, arguments.task)
    rows = [row for task in tasks for row in reader.rows(task).rows]
    with _open_target(arguments.out) as stream:
        written = form.write(rows, stream, with_held_out=arguments.with_audits)
    if home.folder.is_dir():
        path = str(arguments.out.absolute()) if arguments.out else ""
        note_export(
            home, Export(at=time.time(), path=path, format=arguments.format, tasks=tasks, rows=written)
        )
    held_out = 0 if arguments.with_audits else sum(row.is_held_out for row in rows)
    print(_describe(written, held_out, len(rows) - held_out - written), file=sys.stderr)
    return OK


def _list_tasks(reader: HarvestReader, asked: list[str] | None) -> tuple[str, ...]:
    known = reader.counts()
    if unknown := [task for task in asked or () if task not in known]:
        raise ConfigError(f"no rows of task '{unknown[0]}'; known: {', '.join(sorted(known)) or 'none yet'}")
    return tuple(asked or sorted(known))


def _describe(written: int, held_out: int, left_out: int) -> str:
    said = f"{written:,} rows"
    if held_out:
        said += f"; {held_out:,} held out as evidence stay (--with-audits)"
    if left_out > 0:
        said += f"; {left_out:,} that this format cannot hold"
    return said


def _open_target(out: Path | None) -> AbstractContextManager[BinaryIO]:
    if out is None:
        return nullcontext(sys.stdout.buffer)
    try:
        # It holds prompts: for its owner alone, as all of the home.
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as exc:
        raise ConfigError(f"--out {out}: {exc.strerror}") from exc
    return os.fdopen(descriptor, "wb")
