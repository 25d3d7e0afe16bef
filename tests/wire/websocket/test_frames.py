"""The bytes of a websocket are read right however they arrive, and come out as they came."""

from __future__ import annotations

import random

import pytest
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from gateway.wire.websocket.frames import (
    TEXT,
    FrameError,
    FrameParser,
    Part,
    encode_close,
    encode_frame,
)
from gateway.wire.websocket.messages import Message, MessageReader

TEXTS = ["", "a", "ä" * 200, "x" * 70_000, '{"type": "response.create"}' * 40]


def deflate(*, keeps_context: bool = True) -> PerMessageDeflate:
    return PerMessageDeflate(
        remote_no_context_takeover=not keeps_context,
        local_no_context_takeover=not keeps_context,
        remote_max_window_bits=15,
        local_max_window_bits=15,
    )


def conversation(*, is_masked: bool, extension: PerMessageDeflate | None, in_fragments: bool) -> bytes:
    """Return the frames of TEXTS, a ping within each message that has two fragments."""
    extensions = [extension] if extension else []
    sent = b""
    for text in TEXTS:
        data = text.encode()
        middle = len(data) // 3 if in_fragments else len(data)
        first = Frame(Opcode.TEXT, data[:middle], fin=not in_fragments)
        sent += first.serialize(mask=is_masked, extensions=extensions)
        if in_fragments:
            sent += Frame(Opcode.PING, b"there?").serialize(mask=is_masked)
            sent += Frame(Opcode.CONT, data[middle:]).serialize(mask=is_masked, extensions=extensions)
    return sent + Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=is_masked)


def read(sent: bytes, *, is_compressed: bool, seed: int) -> tuple[list[Part], list[Message]]:
    """Return what is read of `sent`, which arrives in pieces of any size."""
    dice = random.Random(seed)
    parser, reader = FrameParser(takes_compressed=is_compressed), MessageReader(1 << 20)
    parts: list[Part] = []
    while sent:
        size = dice.choice([1, 2, 3, 100, 5_000, 200_000])
        parts += parser.feed(sent[:size])
        sent = sent[size:]
    assert parser.is_between_messages
    messages = [reader.take(part) for part in parts if not part.is_control]
    return parts, [message for message in messages if message]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("is_masked", [False, True])
@pytest.mark.parametrize("in_fragments", [False, True])
@pytest.mark.parametrize("compression", ["none", "context", "no context"])
def test_messages_are_read_and_no_byte_is_lost(
    seed: int, is_masked: bool, in_fragments: bool, compression: str
) -> None:
    """Every frame, in pieces of any size, yields the texts that were sent and the bytes that came."""
    extension = None if compression == "none" else deflate(keeps_context=compression == "context")
    sent = conversation(is_masked=is_masked, extension=extension, in_fragments=in_fragments)

    parts, messages = read(sent, is_compressed=extension is not None, seed=seed)

    assert [message.content.decode() for message in messages] == TEXTS
    assert b"".join(part.raw for part in parts) == sent
    assert parts[-1].is_close


@pytest.mark.parametrize(
    "sent",
    [
        b"\x80\x00",  # goes on with a message that never began
        b"\x01\x00\x81\x00",  # a second message within the first
        b"\x83\x00",  # an unknown kind
        b"\xc1\x00",  # compressed, which nobody agreed to
        b"\xa1\x00",  # another extension
        b"\x09\x00",  # half a ping
        b"\x89\x7e\x00\x80",  # a ping that is too long
    ],
)
def test_what_is_no_frame_is_said_to_be_none(sent: bytes) -> None:
    with pytest.raises(FrameError):
        FrameParser(takes_compressed=False).feed(sent)


@pytest.mark.parametrize("is_masked", [False, True])
@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_own_frames_can_be_read(size: int, is_masked: bool) -> None:
    parser, reader = FrameParser(takes_compressed=False), MessageReader(1 << 20)

    (part,) = parser.feed(encode_frame(TEXT, b"x" * size, is_masked=is_masked))

    assert reader.take(part) == Message(b"x" * size)


def test_a_long_reason_of_a_close_frame_is_cut_between_letters() -> None:
    (part,) = FrameParser(takes_compressed=False).feed(encode_close(1008, "ä" * 100))

    assert part.data == b"\x03\xf0" + "ä".encode() * 61


def test_of_a_long_message_the_usage_is_kept() -> None:
    text = b'{"type":"response.completed","x":"%b","usage":{"input_tokens":7}}' % (b"x" * 100_000)
    reader = MessageReader(1_000)
    messages = [reader.take(part) for part in FrameParser(takes_compressed=False).feed(encode_frame(1, text))]

    (message,) = messages
    assert message is not None
    assert message.excerpt is not None
    assert message.excerpt.usages[0].startswith(b'"usage":{"input_tokens":7}')
    assert message.excerpt.size_bytes == len(text)


def test_a_message_that_grows_without_end_is_given_up() -> None:
    """A bomb of zeros costs the memory that a message may take, no more."""
    extension = deflate()
    bomb = Frame(Opcode.TEXT, bytes(65 << 20)).serialize(mask=False, extensions=[extension])
    reader = MessageReader(1_000)
    (part,) = FrameParser(takes_compressed=True).feed(bomb)

    with pytest.raises(FrameError):
        reader.take(part)
