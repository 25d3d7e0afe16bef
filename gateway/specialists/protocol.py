"""What the gateway and the model host say to each other over their socket.

A frame (ipc/framing.py) holds one message in msgpack. Every request carries an id which its
reply repeats; replies come in any order. `Cancel` has no reply.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec

from gateway.core import DraftRequest, FinishReason, Token, Trace
from gateway.ipc.framing import FrameError, frame_payload
from gateway.specialists.base import Prediction

MAX_TEXT_CHARS = 1 << 16
"""Longer inputs are refused by the gateway itself; four bytes a character stay within a frame."""
MAX_DEMANDS_BYTES = 1 << 19
"""Tools and schema of one request; with the text they stay within a frame."""

_Read = TypeVar("_Read")


class _Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    id: int


class Load(_Message, frozen=True):
    """Verify the files of a version and make it ready. Reply: Done."""

    task: str
    version: int
    folder: str


class Unload(_Message, frozen=True):
    """This connection needs the version no longer. Reply: Done."""

    task: str
    version: int


class Ask(_Message, frozen=True):
    """Draft an answer unless `budget_ms` have passed before it is its turn.

    Reply: Drafted; or Opened, any number of Piece, then Drafted, when the brief is streamed and
    the version decides on the beginning of an answer.
    """

    task: str
    version: int
    draft_request: DraftRequest
    budget_ms: float


class Embed(_Message, frozen=True):
    """Encode a text under the same rule. Reply: Embedded."""

    text: str
    budget_ms: float


class Ping(_Message, frozen=True):
    """Say that the host is alive. Reply: Done."""


class Cancel(_Message, frozen=True):
    """Nobody waits for the reply to request `id` any more."""


class Done(_Message, frozen=True):
    """The request was carried out."""


class _Said(_Message, frozen=True):
    text: str
    score: float
    evidence: dict[str, float]
    trace: Trace | None
    tokens: tuple[Token, ...]
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    latency_ms: float


class Drafted(_Said, frozen=True):
    """A whole draft. `latency_ms` is the runtime's own time, without the queue."""


class Opened(_Said, frozen=True):
    """The beginning of a draft, and the score of the whole."""


class Piece(_Message, frozen=True):
    """What follows an opening."""

    text: str


class Embedded(_Message, frozen=True):
    """A unit vector as float32, little-endian."""

    vector: bytes


class Failed(_Message, frozen=True):
    """There is none. `room` says whose error it is: SpecialistError or RegistryError."""

    room: Literal["specialists", "registry"]
    reason: str
    detail: str


Question = Load | Unload | Ask | Embed | Ping | Cancel
Reply = Done | Drafted | Opened | Piece | Embedded | Failed


def drafted(number: int, prediction: Prediction, latency_ms: float) -> Drafted:
    """Return the reply to question `number` with a whole draft."""
    return Drafted(id=number, latency_ms=latency_ms, **_said(prediction))


def opened(number: int, prediction: Prediction, latency_ms: float) -> Opened:
    """Return the reply to question `number` with the beginning of a draft."""
    return Opened(id=number, latency_ms=latency_ms, **_said(prediction))


_encoder = msgspec.msgpack.Encoder()
_questions: msgspec.msgpack.Decoder[Question] = msgspec.msgpack.Decoder(Question)
_replies: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)


def frame(message: Question | Reply) -> bytes:
    """Return `message` ready to be sent.

    Raises FrameError beyond MAX_FRAME_BYTES, UnicodeEncodeError for text with lone surrogates.
    """
    return frame_payload(_encoder.encode(message))


def read_question(payload: bytes) -> Question:
    """Return the gateway's message. Raises FrameError."""
    return _read(_questions, payload)


def read_reply(payload: bytes) -> Reply:
    """Return the host's message. Raises FrameError."""
    return _read(_replies, payload)


def _said(prediction: Prediction) -> dict[str, Any]:
    return {name: getattr(prediction, name) for name in Prediction.__struct_fields__}


def _read(decoder: msgspec.msgpack.Decoder[_Read], payload: bytes) -> _Read:
    try:
        return decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise FrameError(f"an unreadable message: {type(exc).__name__}") from exc
