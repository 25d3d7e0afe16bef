from __future__ import annotations

import random

import msgspec
import pytest

from gateway.core import DraftRequest, Token, Trace
from gateway.ipc.framing import MAX_FRAME_BYTES, FrameDecoder, FrameError
from gateway.specialists.base import Prediction
from gateway.specialists.protocol import (
    MAX_TEXT_CHARS,
    Cancel,
    Done,
    Drafted,
    Embedded,
    EmbedText,
    Failed,
    HostReply,
    HostRequest,
    LoadVersion,
    MakeDraft,
    Opened,
    Piece,
    Ping,
    UnloadVersion,
    decode_reply,
    decode_request,
    encode_frame,
)

PREDICTION = Prediction(
    text="card_arrival",
    score=0.5,
    evidence={"margin": 0.5},
    trace=Trace((-0.1,), (2.0,), (0.3,)),
    tokens=(Token("card", -0.1, (("card", -0.1), ("pin", -2.0))),),
    finish_reason="length",
    prompt_tokens=3,
    completion_tokens=2,
)
REQUESTS: list[HostRequest] = [
    LoadVersion(1, "support", 2, "/folder"),
    UnloadVersion(2, "support", 2),
    MakeDraft(
        3,
        "support",
        2,
        DraftRequest(text="wo ist meine Karte? \N{GRINNING FACE}", tools=b"[]", seed=1),
        250.0,
    ),
    EmbedText(4, "text", 10.0),
    Ping(5),
    Cancel(3),
]
REPLIES: list[HostReply] = [
    Done(1),
    Drafted(3, PREDICTION, 1.5),
    Opened(3, PREDICTION, 1.5),
    Piece(3, " more"),
    Embedded(4, b"\0" * 16),
    Failed(5, "late", "detail"),
    Failed(6, "a file is missing", is_registry_error=True),
]


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_request_arrives_as_it_was_sent(request_: HostRequest) -> None:
    (payload,) = FrameDecoder().feed(encode_frame(request_))

    assert decode_request(payload) == request_


@pytest.mark.parametrize("reply", REPLIES)
def test_a_reply_arrives_as_it_was_sent(reply: HostReply) -> None:
    (payload,) = FrameDecoder().feed(encode_frame(reply))

    assert decode_reply(payload) == reply


@pytest.mark.parametrize("size", [1, 3, 7, 10_000])
def test_messages_do_not_care_how_they_are_cut(size: int) -> None:
    sent = b"".join(map(encode_frame, REQUESTS))
    decoder = FrameDecoder()

    received = [
        decode_request(payload)
        for start in range(0, len(sent), size)
        for payload in decoder.feed(sent[start : start + size])
    ]

    assert received == REQUESTS


def test_a_message_too_long_for_a_frame_is_never_sent() -> None:
    with pytest.raises(FrameError):
        encode_frame(Drafted(1, Prediction(text="x" * MAX_FRAME_BYTES, score=0.5)))


def test_the_longest_text_fits_into_a_frame() -> None:
    assert encode_frame(EmbedText(1, "\N{GRINNING FACE}" * MAX_TEXT_CHARS, 1.0))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"\x91" * 100_000,
        msgspec.msgpack.encode(["MakeDraft", "no id"]),
        msgspec.msgpack.encode(["Exec", 1, "rm"]),
        b"\x94\xa9EmbedText\x01\xa1\xff\x01",
        *(random.Random(seed).randbytes(40) for seed in range(20)),
    ],
)
def test_garbage_is_always_a_frame_error(payload: bytes) -> None:
    with pytest.raises(FrameError):
        decode_request(payload)
