"""The days on which teachers retire models, as they last said: a small file in the home folder."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import msgspec

from gateway.store.atomic_file import replace_file
from gateway.store.home import Home

Retirements = dict[str, dict[str, date]]
"""By teacher and model: its last day."""


def read_retirements(home: Home) -> Retirements:
    """Return what the teachers last said; nothing if they were not asked yet."""
    try:
        return msgspec.json.decode(home.retirements.read_bytes(), type=Retirements)
    except (OSError, msgspec.DecodeError):
        return {}


def write_retirements(home: Home, said: Mapping[str, Mapping[str, date]]) -> None:
    """Keep what the teachers that were asked have said, beside what others said before."""
    with replace_file(home.retirements) as scratch:
        scratch.write_bytes(msgspec.json.encode(read_retirements(home) | dict(said)))
