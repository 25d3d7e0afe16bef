"""The measured costs, each with the command that measures it anew."""

from __future__ import annotations

from pathlib import Path

import msgspec

FILE = Path(__file__).with_name("costs.toml")


class Cost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One measured figure."""

    value: float
    what: str
    command: str


class Costs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The figures by their names, which end in their units."""

    escalated_us: Cost
    request_kb_us: Cost
    chunk_us: Cost
    local_worker_us: Cost
    local_host_us: Cost
    learnt_host_us: Cost
    shared_cache: Cost
    row_bytes: Cost
    decision_bytes: Cost
    machine_commands: Cost
    limit_commands: Cost
    machine_valkey_us: Cost
    worker_mb: Cost
    machine_mb: Cost
    teacher_usd: Cost


def read_costs(file: Path = FILE) -> Costs:
    """Return the costs in `file`. Raises msgspec.ValidationError for one that is unknown or missing."""
    return msgspec.toml.decode(file.read_bytes(), type=Costs)
