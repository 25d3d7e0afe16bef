"""The address of a running gateway: a small file in its home folder."""

from __future__ import annotations

import msgspec

from gateway.errors import UpstreamError
from gateway.store.atomic_file import replace_file
from gateway.store.home import Home


class RunFile(msgspec.Struct, frozen=True, kw_only=True):
    """The supervisor's process and the base URLs of its two ports, without `/v1`."""

    pid: int
    url: str
    admin_url: str


def read_run_file(home: Home) -> RunFile:
    """Return what the gateway of `home` wrote. Raises UpstreamError if none runs there."""
    try:
        return msgspec.json.decode(home.run_file.read_bytes(), type=RunFile)
    except (OSError, msgspec.DecodeError) as exc:
        raise UpstreamError(
            f"no gateway runs from {home.folder}: start `stepdown serve`, or name --base-url"
        ) from exc


def write_run_file(home: Home, run: RunFile) -> None:
    """Tell every reader of `home` where the gateway is."""
    with replace_file(home.run_file) as scratch:
        scratch.write_bytes(msgspec.json.encode(run))
