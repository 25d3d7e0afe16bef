"""What a runtime and its engine process say to each other; framed like the host's own protocol."""

from __future__ import annotations

import msgspec

from gateway.core import Brief
from gateway.specialists.base import Proposal


class Order(msgspec.Struct, frozen=True, tag=True):
    """Draft an answer with the adapter file at `adapter`."""

    id: int
    adapter: str
    brief: Brief
    max_new_tokens: int
    hold_back: int | None


class Withdraw(msgspec.Struct, frozen=True, tag=True):
    """Nobody waits for order `id` any more."""

    id: int


class Forget(msgspec.Struct, frozen=True, tag=True):
    """The adapter file at `adapter` is needed no longer."""

    adapter: str


class Whole(msgspec.Struct, frozen=True, tag=True):
    """The draft."""

    id: int
    proposal: Proposal


class Beginning(msgspec.Struct, frozen=True, tag=True):
    """The part of the draft on which to decide."""

    id: int
    proposal: Proposal


class More(msgspec.Struct, frozen=True, tag=True):
    """What follows the beginning."""

    id: int
    text: str


class Refused(msgspec.Struct, frozen=True, tag=True):
    """There is no draft."""

    id: int
    reason: str


ToEngine = Order | Withdraw | Forget
FromEngine = Whole | Beginning | More | Refused

encode = msgspec.msgpack.Encoder().encode
to_engine = msgspec.msgpack.Decoder(ToEngine).decode
from_engine = msgspec.msgpack.Decoder(FromEngine).decode
