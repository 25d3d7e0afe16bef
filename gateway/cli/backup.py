"""Copy all state to a folder, while the gateway serves."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from gateway.cli import OK


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "folder", type=Path, help="a new or empty folder; it will hold prompts and key hashes"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Copy. Raises ConfigError for a folder that cannot take it."""
    import msgspec

    from gateway.errors import ConfigError
    from gateway.settings import read_settings
    from gateway.store.backup import back_up
    from gateway.store.state import record_change

    home = read_settings(os.environ).home
    if not home.state_db.exists():
        raise ConfigError(f"home: nothing in {home.folder} to copy")
    os.umask(0o077)
    # Before the copy: it leaves with all prompts, and says so itself.
    record_change(home, "backup", str(arguments.folder.absolute()))
    manifest = back_up(home, arguments.folder)
    if arguments.json:
        print(msgspec.json.encode(manifest).decode())
    else:
        size = manifest.size_bytes / 1e6
        print(f"{len(manifest.files):,} files, {size:,.1f} MB, copied from {home.folder}")
        print(f"`stepdown restore {arguments.folder}` puts them back;")
        print("settings and policies are not among them")
    return OK
