"""The messages between the model host and an engine process, over its stdin and stdout.

Frames, numbers and replies are those of the host's own protocol.
"""

from __future__ import annotations

import msgspec

from gateway.core import DraftRequest
from gateway.specialists.protocol import Cancel, Drafted, Failed, Numbered, Opened, Piece


class Generate(Numbered, frozen=True):
    """Draft an answer with the adapter file at `adapter`, or with the plain base if it is empty.

    Reply: Drafted; or Opened, any number of Piece, then Drafted, if the request is streamed and
    has a `hold_back`: the number of tokens to decide on.
    """

    adapter: str
    draft_request: DraftRequest
    max_new_tokens: int
    hold_back: int | None


class UnloadAdapter(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The adapter file at `adapter` is needed no longer. No reply."""

    adapter: str


EngineRequest = Generate | Cancel | UnloadAdapter
EngineReply = Drafted | Opened | Piece | Failed

decode_request = msgspec.msgpack.Decoder(EngineRequest).decode
decode_reply = msgspec.msgpack.Decoder(EngineReply).decode
