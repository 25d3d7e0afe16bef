from __future__ import annotations

import random

import msgspec
import pytest

from gateway.core import DraftRequest, Token, Trace
from gateway.ipc.framing import MAX_FRAME_BYTES, FrameDecoder, FrameError
from gateway.specialists.base import Prediction
from gateway.specialists.protocol import (
    MAX_TEXT_CHARS,
    Ask,
    Cancel,
    Done,
    Embed,
    Embedded,
    Failed,
    Load,
    Piece,
    Ping,
    Question,
    Reply,
    Unload,
    drafted,
    frame,
    opened,
    read_question,
    read_reply,
)

PROPOSAL = Prediction(
    text="card_arrival",
    score=0.5,
    evidence={"margin": 0.5},
    trace=Trace((-0.1,), (2.0,), (0.3,)),
    tokens=(Token("card", -0.1, (("card", -0.1), ("pin", -2.0))),),
    finish_reason="length",
    prompt_tokens=3,
    completion_tokens=2,
)
QUESTIONS: list[Question] = [
    Load(1, "support", 2, "/folder"),
    Unload(2, "support", 2),
    Ask(
        3,
        "support",
        2,
        DraftRequest(text="wo ist meine Karte? \N{GRINNING FACE}", tools=b"[]", seed=1),
        250.0,
    ),
    Embed(4, "text", 10.0),
    Ping(5),
    Cancel(3),
]
REPLIES: list[Reply] = [
    Done(1),
    drafted(3, PROPOSAL, 1.5),
    opened(3, PROPOSAL, 1.5),
    Piece(3, " more"),
    Embedded(4, b"\0" * 16),
    Failed(5, "specialists", "late", "detail"),
]


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_arrives_as_it_was_sent(question: Question) -> None:
    (payload,) = FrameDecoder().feed(frame(question))

    assert read_question(payload) == question


@pytest.mark.parametrize("reply", REPLIES)
def test_a_reply_arrives_as_it_was_sent(reply: Reply) -> None:
    (payload,) = FrameDecoder().feed(frame(reply))

    assert read_reply(payload) == reply


@pytest.mark.parametrize("size", [1, 3, 7, 10_000])
def test_frames_do_not_care_how_they_are_cut(size: int) -> None:
    sent = b"".join(map(frame, QUESTIONS))
    frames = FrameDecoder()

    received = [
        read_question(payload)
        for start in range(0, len(sent), size)
        for payload in frames.feed(sent[start : start + size])
    ]

    assert received == QUESTIONS


def test_a_message_too_long_for_a_frame_is_never_sent() -> None:
    with pytest.raises(FrameError):
        frame(drafted(1, Prediction(text="x" * MAX_FRAME_BYTES, score=0.5), 0.0))


def test_the_longest_text_fits_into_a_frame() -> None:
    assert frame(Embed(1, "\N{GRINNING FACE}" * MAX_TEXT_CHARS, 1.0))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"\x91" * 100_000,
        msgspec.msgpack.encode(["Ask", "no id"]),
        msgspec.msgpack.encode(["Exec", 1, "rm"]),
        b"\x93\xa5Embed\x01\xa1\xff",
        *(random.Random(seed).randbytes(40) for seed in range(20)),
    ],
)
def test_garbage_is_a_frame_error_whatever_it_is(payload: bytes) -> None:
    with pytest.raises(FrameError):
        read_question(payload)
