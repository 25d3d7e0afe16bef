"""What a runtime and its engine process say to each other; framed like the host's own protocol."""

from __future__ import annotations

import msgspec

from gateway.core import DraftRequest
from gateway.specialists.base import Prediction


class Generate(msgspec.Struct, frozen=True, tag=True):
    """Draft an answer with the adapter file at `adapter`."""

    id: int
    adapter: str
    draft_request: DraftRequest
    max_new_tokens: int
    hold_back: int | None


class Cancel(msgspec.Struct, frozen=True, tag=True):
    """Nobody waits for order `id` any more."""

    id: int


class UnloadAdapter(msgspec.Struct, frozen=True, tag=True):
    """The adapter file at `adapter` is needed no longer."""

    adapter: str


class Drafted(msgspec.Struct, frozen=True, tag=True):
    """The draft."""

    id: int
    prediction: Prediction


class Opened(msgspec.Struct, frozen=True, tag=True):
    """The part of the draft on which to decide."""

    id: int
    prediction: Prediction


class Piece(msgspec.Struct, frozen=True, tag=True):
    """What follows the beginning."""

    id: int
    text: str


class Failed(msgspec.Struct, frozen=True, tag=True):
    """There is no draft."""

    id: int
    reason: str


ToEngine = Generate | Cancel | UnloadAdapter
FromEngine = Drafted | Opened | Piece | Failed

encode = msgspec.msgpack.Encoder().encode
to_engine = msgspec.msgpack.Decoder(ToEngine).decode
from_engine = msgspec.msgpack.Decoder(FromEngine).decode
