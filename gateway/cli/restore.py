"""Put a backup in the place of the home folder, after checking every file of it."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from gateway.cli import OK


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("folder", type=Path, help="what `stepdown backup` wrote")
    parser.add_argument("--check", action="store_true", help="only check that the backup is whole")
    parser.add_argument("--replace", action="store_true", help="move aside what is in the home now")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Restore, or check. Raises ConfigError for a backup that is not whole, or a home in use."""
    import json

    from gateway.settings import read_settings
    from gateway.store.backup import check_backup, read_manifest, restore
    from gateway.store.state import record_change

    home, source = read_settings(os.environ).home, arguments.folder
    os.umask(0o077)
    replaced = None
    if arguments.check:
        manifest = read_manifest(source)
        check_backup(source, manifest)
    else:
        manifest, replaced = restore(home, source, may_replace=arguments.replace)
        record_change(home, "restore", str(source.absolute()), taken_at=manifest.at)
    if arguments.json:
        print(json.dumps({"at": manifest.at, "files": len(manifest.files), "replaced": str(replaced or "")}))
        return OK
    taken = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(manifest.at))
    done = "whole" if arguments.check else f"restored to {home.folder}"
    print(f"{len(manifest.files):,} files of {taken}: {done}")
    if replaced:
        print(f"what was there is in {replaced}")
    if not arguments.check:
        print("as of then: revoke again the keys, and forget again the rows, that were since")
    return OK
