"""Show the harvest, or export it as training data."""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from gateway.cli import OK

if TYPE_CHECKING:
    from gateway.harvest.reader import HarvestReader


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    stats = actions.add_parser("stats", help="files, size, age, and rows by task")
    stats.add_argument("--json", action="store_true", help="print JSON")
    export = actions.add_parser("export", help="write rows in the format of a trainer")
    export.add_argument("--format", default="openai", help="the trainer's format (openai)")
    export.add_argument("--task", action="append", help="only this task; may be repeated")
    export.add_argument("--out", type=Path, metavar="FILE", help="file to write (standard output)")
    export.add_argument(
        "--with-audits",
        action="store_true",
        help="held-out rows too: certificates are earned on these, do not train on them",
    )


def run(arguments: argparse.Namespace) -> int:
    """Show or export the harvest."""
    from gateway.harvest.reader import HarvestReader
    from gateway.settings import read_settings

    reader = HarvestReader(read_settings(os.environ).home.harvest)
    return _stats(reader, arguments) if arguments.action == "stats" else _export(reader, arguments)


def _stats(reader: HarvestReader, arguments: argparse.Namespace) -> int:
    stats = reader.stats()
    if arguments.json:
        import msgspec

        print(msgspec.json.encode(stats).decode())
        return OK
    if not stats.tasks:
        print("no rows yet: send traffic through `stepdown serve`")
        return OK
    span = f"{_format_day(stats.oldest_at)} to {_format_day(stats.newest_at)}"
    files = "1 file" if stats.files == 1 else f"{stats.files} files"
    print(f"{files}, {stats.size_bytes / 1e6:.1f} MB, rows {span}")
    for task, count in sorted(stats.tasks.items()):
        print(f"{task}  {count.training:>8,} for training  {count.held_out:>8,} held out as evidence")
    return OK


def _export(reader: HarvestReader, arguments: argparse.Namespace) -> int:
    from gateway.config import plugins
    from gateway.errors import ConfigError

    form = plugins.load_plugin("gateway.harvest.formats", arguments.format)
    known = reader.counts()
    tasks = arguments.task or sorted(known)
    if unknown := [task for task in tasks if task not in known]:
        raise ConfigError(f"no rows of task '{unknown[0]}'; known: {', '.join(sorted(known)) or 'none yet'}")
    written = 0
    with _open_target(arguments.out) as stream:
        for task in tasks:
            written += form.write(reader.rows(task).rows, stream, with_held_out=arguments.with_audits)
    print(f"{written:,} rows", file=sys.stderr)
    return OK


def _open_target(out: Path | None) -> AbstractContextManager[BinaryIO]:
    from gateway.errors import ConfigError

    if out is None:
        return nullcontext(sys.stdout.buffer)
    try:
        return out.open("wb")
    except OSError as exc:
        raise ConfigError(f"--out {out}: {exc.strerror}") from exc


def _format_day(at: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at)) if at else "-"
