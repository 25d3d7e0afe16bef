"""What an adapter tells of its gateway: how it is started in front of a teacher, and how it is called."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec


class AbsentError(Exception):
    """A peer is not installed; the message says where it was looked for."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a peer is to run."""

    peers: Path | None
    """The folder of installed peers."""
    scratch: Path
    """An empty folder of its own."""
    teacher_port: int
    port: int
    """Free on 127.0.0.1, where it is to listen."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How to start one gateway."""

    version: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = {}
    headers: tuple[tuple[str, str], ...] = ()
    """What a client must send, its credential among them."""
    ready_path: str
    """Answers 200 to a GET once the gateway serves."""
    worker: str = ""
    """A word in the command line of the process which answers; the started one itself if empty."""


class Adapter(Protocol):
    """A module in `adapters/`. Its name is the peer's."""

    def prepare(self, place: Place) -> Plan:
        """Write into `place.scratch` what the peer needs; return how to start it.

        Raises AbsentError when it is not installed.
        """
        ...
