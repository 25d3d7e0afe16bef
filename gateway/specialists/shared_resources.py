"""The encoder and the engines that all specialists of one process share."""

from __future__ import annotations

import msgspec

from gateway.specialists.base import Encoder
from gateway.specialists.engine.pool import EnginePool


class SharedResources(msgspec.Struct, frozen=True):
    """The second argument of a runtime's `create`."""

    encoder: Encoder
    engines: EnginePool
