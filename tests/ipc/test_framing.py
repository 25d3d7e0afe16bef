from __future__ import annotations

import struct

import pytest

from gateway.ipc.framing import MAX_FRAME_BYTES, FrameDecoder, FrameError, frame_payload

PAYLOADS = [b"", b"one", b"\0" * 5_000, b"last"]


@pytest.mark.parametrize("size", [1, 3, 7, 10_000])
def test_frames_do_not_care_how_they_are_cut(size: int) -> None:
    sent = b"".join(map(frame_payload, PAYLOADS))
    decoder = FrameDecoder()

    received = [
        payload for start in range(0, len(sent), size) for payload in decoder.feed(sent[start : start + size])
    ]

    assert received == PAYLOADS


def test_an_impossible_length_is_refused_before_its_bytes_are_kept() -> None:
    with pytest.raises(FrameError):
        list(FrameDecoder().feed(struct.pack(">I", MAX_FRAME_BYTES + 1)))


def test_a_payload_too_long_for_a_frame_is_never_sent() -> None:
    assert len(frame_payload(b"x" * MAX_FRAME_BYTES)) == 4 + MAX_FRAME_BYTES
    with pytest.raises(FrameError):
        frame_payload(b"x" * (MAX_FRAME_BYTES + 1))
