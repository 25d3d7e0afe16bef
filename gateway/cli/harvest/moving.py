"""`harvest ship` and `parts`: rows that move to Parquet, and the files that they are in."""

from __future__ import annotations

import argparse
import json

import msgspec

from gateway.cli import OK
from gateway.errors import ConfigError
from gateway.processes.harvest_access import open_manifests
from gateway.settings import Settings
from gateway.store.task_lookup import find_recorded_tasks

_UNSET = "rows stay on this machine: set `parts` of [harvest] to a folder or a URL (s3://bucket/folder)"


def ship(settings: Settings, arguments: argparse.Namespace) -> int:
    """Move every row that waits; merge and delete what may be."""
    if settings.harvest.parts is None:
        raise ConfigError(_UNSET)
    from gateway.processes.shipper import PartsUpkeep

    rows = PartsUpkeep(settings).run_once()
    said = f"{rows:,} rows moved to {settings.harvest.parts}"
    print(json.dumps({"rows": rows}) if arguments.json else said)
    return OK


def list_parts(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print the address of each file that counts just now."""
    if settings.harvest.parts is None:
        raise ConfigError(_UNSET)
    parts = open_manifests(settings).refresh().select()
    known, asked = {part.task for part in parts}, arguments.task
    wanted = find_recorded_tasks(settings.home, asked, known) if asked else frozenset()
    for part in parts:
        if wanted and part.task not in wanted:
            continue
        address = f"{settings.harvest.parts.rstrip('/')}/{part.path}"
        if arguments.json:
            print(msgspec.json.encode({"address": address, **msgspec.structs.asdict(part)}).decode())
        else:
            print(address)
    return OK
