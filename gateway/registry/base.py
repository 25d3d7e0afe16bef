"""The settings of the registry that several machines share."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.config.bounds import PositiveInt


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Specialists that every machine serves, whichever learnt them. Needs `state.url`."""

    storage: str | None = None
    """Where versions are published: a folder that all machines mount, relative to the settings file, or a
    URL that fsspec knows (s3://bucket/folder). None: a version serves only on the machine that learnt it."""
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    """Of fsspec's file system, such as `endpoint_url`. Credentials come from the environment."""
    cache_mb: PositiveInt = 2_048
    """Versions that do not draft, and that this machine keeps a copy of; the oldest go first."""
