"""The messages between a gateway worker and the model host, over a Unix socket.

A frame (ipc/framing.py) holds one message in msgpack. Every request carries an id that its
replies repeat; replies come in any order. `Cancel` has no reply. The replies to a draft are also
those of an engine process to the host (engine/protocol.py).
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from gateway.core import DraftRequest
from gateway.ipc.framing import FrameError, frame_payload
from gateway.specialists.base import Prediction

MAX_TEXT_CHARS = 1 << 16
"""Longer inputs are refused by the gateway itself; at four bytes per character they fit into a frame."""
MAX_DEMANDS_BYTES = 1 << 19
"""Tools and schema of one request; together with the text they fit into a frame."""

_Decoded = TypeVar("_Decoded")


class Numbered(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A request with its number, unique on its connection, or a reply with that of its request."""

    id: int


class LoadVersion(Numbered, frozen=True):
    """Verify the files of a version and make it ready. Reply: Done."""

    task: str
    version: int
    folder: str


class UnloadVersion(Numbered, frozen=True):
    """This connection needs the version no longer. Reply: Done."""

    task: str
    version: int


class MakeDraft(Numbered, frozen=True):
    """Draft an answer, unless `budget_ms` have passed before its turn comes.

    Reply: Drafted; or Opened, any number of Piece, then Drafted, if the request is streamed and
    the version decides on the beginning of an answer.
    """

    task: str
    version: int
    draft_request: DraftRequest
    budget_ms: float


class EmbedText(Numbered, frozen=True):
    """Encode a text, unless `budget_ms` have passed before its turn comes. Reply: Embedded."""

    text: str
    budget_ms: float


class Ping(Numbered, frozen=True):
    """Show that the host is alive. Reply: Done."""


class Cancel(Numbered, frozen=True):
    """The reply to request `id` is wanted no longer."""


class Done(Numbered, frozen=True):
    """The request was carried out."""


class Drafted(Numbered, frozen=True):
    """A whole draft. `latency_ms` is the runtime's own time, without the queue; the host adds it.

    `is_learnt` says that the version has learnt this very text; the host adds it, too.
    """

    prediction: Prediction
    latency_ms: float = 0.0
    is_learnt: bool = False


class Opened(Numbered, frozen=True):
    """The beginning of a draft, and the score of the whole. The other fields are as in Drafted."""

    prediction: Prediction
    latency_ms: float = 0.0
    is_learnt: bool = False


class Piece(Numbered, frozen=True):
    """Text that follows an opening."""

    text: str


class Embedded(Numbered, frozen=True):
    """A unit vector as float32, little-endian."""

    vector: bytes


class Failed(Numbered, frozen=True):
    """The request failed: with a SpecialistError, or with a RegistryError where files were refused."""

    reason: str
    detail: str = ""
    is_registry_error: bool = False


HostRequest = LoadVersion | UnloadVersion | MakeDraft | EmbedText | Ping | Cancel
HostReply = Done | Drafted | Opened | Piece | Embedded | Failed

_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[HostRequest] = msgspec.msgpack.Decoder(HostRequest)
_replies: msgspec.msgpack.Decoder[HostReply] = msgspec.msgpack.Decoder(HostReply)


def encode_frame(message: msgspec.Struct) -> bytes:
    """Return `message` ready to be sent.

    Raises FrameError beyond MAX_FRAME_BYTES, UnicodeEncodeError for text with lone surrogates.
    """
    return frame_payload(_encoder.encode(message))


def decode_request(payload: bytes) -> HostRequest:
    """Return the gateway's message. Raises FrameError."""
    return _decode(_requests, payload)


def decode_reply(payload: bytes) -> HostReply:
    """Return the host's message. Raises FrameError."""
    return _decode(_replies, payload)


def _decode(decoder: msgspec.msgpack.Decoder[_Decoded], payload: bytes) -> _Decoded:
    try:
        return decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise FrameError(f"an unreadable message: {type(exc).__name__}") from exc
