"""`harvest import`: recorded conversations become lessons."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from gateway.cli import FAILED, OK
from gateway.cli.harvest.terminal_text import make_visible
from gateway.errors import ConfigError
from gateway.harvest.mistakes import Mistake
from gateway.harvest.sources import Columns, Record, read_records
from gateway.processes.importing import Report, import_records
from gateway.processes.record_binder import Owner
from gateway.settings import Settings
from gateway.store.state import open_state

_SPELLED = frozenset({"tools", "response_format", "text", "tool_choice"})
"""Fields by whose bytes a task is named: kept as the file has them."""
_EVERY = 1_000
"""Records between two signs of progress."""


def import_files(settings: Settings, arguments: argparse.Namespace) -> int:
    """Import the files; 1 if no record could be."""
    columns = Columns(text=arguments.text_column, answer=arguments.answer_column)
    report = import_records(
        _read_all(arguments.files, columns),
        settings,
        _find_owner(settings, arguments),
        _read_like(arguments.like, arguments.model),
        is_dry_run=arguments.dry_run,
    )
    if arguments.json:
        print(msgspec.json.encode(report).decode())
    else:
        print(_describe(report, is_dry_run=arguments.dry_run))
    return OK if report.imported or report.copies else FAILED


def _read_all(files: list[Path], columns: Columns) -> Iterator[Record]:
    shows_progress = sys.stderr.isatty()
    number = 0
    for path in files:
        for record in read_records(path, columns):
            number += 1
            if shows_progress and number % _EVERY == 0:
                print(f"\r{number:,} records", end="", file=sys.stderr, flush=True)
            yield record
    if shows_progress:
        print("\r\x1b[K", end="", file=sys.stderr)


def _find_owner(settings: Settings, arguments: argparse.Namespace) -> Owner:
    if arguments.key:
        with open_state(settings.home) as state:
            found = [key for key in state.keys.all() if key.name == arguments.key]
        if not found:
            raise ConfigError(f"no key is called '{arguments.key}'; `stepdown keys list` names them")
        return Owner(caller=found[-1].name, tenant=found[-1].tenant, grant=found[-1].grant)
    if settings.admission == "open":
        return Owner(caller="open", tenant="open")
    if not arguments.tenant:
        raise ConfigError(
            "say whose conversations these are: --key NAME, or --tenant NAME (of `serve --open` it is open)"
        )
    return Owner(caller=arguments.tenant, tenant=arguments.tenant)


def _read_like(path: Path | None, model: str | None) -> dict[str, Any]:
    """Return the fields that records lack. Raises ConfigError."""
    fields: dict[str, Any] = {}
    if path is not None:
        try:
            raw = msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw])
            fields = {
                name: each if name in _SPELLED else msgspec.json.decode(each) for name, each in raw.items()
            }
        except (OSError, msgspec.MsgspecError) as exc:
            raise ConfigError(f"--like {path}: {exc}") from exc
        messages = fields.get("messages", [])
        if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
            raise ConfigError(f"--like {path}: `messages` is not a list of messages")
    return {**fields, "model": model} if model else fields


def _describe(report: Report, *, is_dry_run: bool) -> str:
    verb = "would be imported" if is_dry_run else "imported"
    counts = f"{report.imported:,} {verb}, {report.copies:,} copies, {report.failed:,} failed"
    lines = [f"{report.read:,} records: {counts}"]
    lines += [
        f"{task}  {rows:,} row{'' if rows == 1 else 's'}" for task, rows in sorted(report.tasks.items())
    ]
    lines += [_describe_mistake(each) for each in report.errors]
    if others := report.failed - sum(each.count for each in report.errors):
        lines.append(f"... and {others:,} with other mistakes")
    if report.held_out:
        lines.append(f"{report.held_out:,} of them held out to certify what the others teach, not learnt")
    elif report.imported and not is_dry_run:
        lines.append("they are learnt from; a specialist serves once live audits have certified it")
    return "\n".join(lines)


def _describe_mistake(mistake: Mistake) -> str:
    others = mistake.count - len(mistake.numbers)
    more = f" and {others:,} more" if others else ""
    return make_visible(f"{mistake.file}:{', '.join(map(str, mistake.numbers))}{more}: {mistake.error}")
