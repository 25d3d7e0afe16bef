"""The contract of an adapter: how its gateway is started in front of a teacher, and how it is called."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec


class AbsentError(Exception):
    """A peer is not installed; the message names the place that was searched."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """The folders and ports of one peer."""

    peers: Path | None
    """The folder of installed peers."""
    scratch: Path
    """An empty folder of its own."""
    teacher_port: int
    port: int
    """Free on 127.0.0.1; the peer listens here."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The command that starts one gateway, and how to call it."""

    version: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = {}
    headers: tuple[tuple[str, str], ...] = ()
    """Headers that a client must send, its credential among them."""
    ready_path: str
    """Answers 200 to a GET once the gateway serves."""
    worker: str = ""
    """A word in the command line of the process that answers; the started one itself if empty."""


class Adapter(Protocol):
    """A module in `adapters/`. Its name is the peer's."""

    def prepare(self, place: Place) -> Plan:
        """Write the peer's configuration into `place.scratch`; return how to start it.

        Raises AbsentError if it is not installed.
        """
        ...
