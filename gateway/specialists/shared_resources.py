"""The encoder and the engines that all specialists of one process share."""

from __future__ import annotations

import msgspec

from gateway.specialists.base import Encoder
from gateway.specialists.engine.pool import EnginePool


class SharedResources(msgspec.Struct, frozen=True):
    """What `create` of a runtime gets beside its folder."""

    encoder: Encoder
    engines: EnginePool
