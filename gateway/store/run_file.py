"""Where a running gateway can be found: a small file in its home folder."""

from __future__ import annotations

from pathlib import Path

import msgspec

from gateway.errors import UpstreamError


class RunFile(msgspec.Struct, frozen=True, kw_only=True):
    """The supervisor's process and the base URLs of its two ports, without `/v1`."""

    pid: int
    url: str
    admin_url: str


def running_gateway(home: Path) -> RunFile:
    """Return what runs from `home`. Raises UpstreamError when nothing does."""
    try:
        return msgspec.json.decode(run_file(home).read_bytes(), type=RunFile)
    except (OSError, msgspec.DecodeError) as error:
        raise UpstreamError(
            f"no gateway runs from {home}: start `stepdown serve`, or name --base-url"
        ) from error


def announce(home: Path, run: RunFile) -> None:
    """Write the file, at once and whole."""
    fresh = run_file(home).with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(run))
    fresh.rename(run_file(home))


def run_file(home: Path) -> Path:
    """Return the file's path."""
    return home / "run.json"
