"""The encoder and the engines, here and elsewhere, that all specialists of one process share."""

from __future__ import annotations

import msgspec

from gateway.specialists.base import Encoder
from gateway.specialists.engine.pool import EnginePool
from gateway.specialists.remote.pool import RemoteEngines


class SharedResources(msgspec.Struct, frozen=True):
    """The second argument of a runtime's `create`."""

    encoder: Encoder
    engines: EnginePool
    remote_engines: RemoteEngines = msgspec.field(default_factory=RemoteEngines)
