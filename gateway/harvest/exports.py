"""The list of exports: which files outside the home may hold rows of which tasks."""

from __future__ import annotations

import msgspec

from gateway.store.home import Home


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """One file that was written from the harvest."""

    at: float
    path: str
    """Absolute; empty for standard output."""
    format: str
    tasks: tuple[str, ...]
    rows: int


def note_export(home: Home, export: Export) -> None:
    """Add `export` to the list."""
    home.exports.touch(mode=0o600)
    with home.exports.open("ab") as listing:
        listing.write(msgspec.json.encode(export) + b"\n")


def read_exports(home: Home) -> list[Export]:
    """Return the exports that were made, oldest first; a line that cannot be read is passed over."""
    if not home.exports.exists():
        return []
    exports = []
    for line in home.exports.read_bytes().splitlines():
        try:
            exports.append(msgspec.json.decode(line, type=Export))
        except msgspec.MsgspecError:
            continue
    return exports
