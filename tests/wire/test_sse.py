"""Event streams are read as the standard says, and cut ones are distinguished from whole ones."""

from __future__ import annotations

import json

import pytest

from gateway.wire import sse
from gateway.wire.sse import EventSplitter, ends_complete, error_event, iter_events, last_event_end


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data:a\n\ndata:  b\n\n", [b"a", b" b"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b": ping\n\nid: 7\nevent: x\nretry: 1\ndata: a\n\n: ping\n\n", [b"a"]),
        (b"event: ping\n\n\n\ndata: a\n\n", [b"a"]),
        (b"data: a\n\ndata: [DONE]\n", [b"a", b"[DONE]"]),
        (b"data: \xe2\x80\xa8\x0b\x0c\x1c\n\n", [b"\xe2\x80\xa8\x0b\x0c\x1c"]),
        (b"rest of a line\n\ndata: a\n\n", [b"a"]),
        (b"\xef\xbb\xbfdata: a\n\ndata: b\n\n", [b"a", b"b"]),
    ],
)
def test_events_are_found(data: bytes, expected: list[bytes]) -> None:
    assert list(iter_events(data)) == expected


def chunk(finish_reason: str | None) -> bytes:
    content = json.dumps({"choices": [{"delta": {"content": "x"}, "finish_reason": finish_reason}]})
    return b"data: %b\n\n" % content.encode()


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        (b"", False),
        (chunk(None), False),
        (chunk("stop"), True),
        (chunk("length") + b'data: {"choices":[],"usage":{}}\n\n', True),
        (chunk(None) + b"data: [DONE]\n\n", True),
        (chunk(None) + b"data: [DONE]", True),
        (chunk(None) + b"data: [DO", False),
        (chunk("stop")[:-10], False),
        (chunk("stop")[20:] + chunk(None), False),
        (chunk("stop").replace(b"\n\n", b"\r\n\r\n"), True),
        (b'data: {"text":"finish_reason [DONE]"}\n\n', False),
        (b'data: "finish_reason"\n\n' + b"data: " + b"[" * 100_000 + b'"finish_reason"', False),
        (b'data: {"choices":[{"finish_reason":"\xff"}]}\n\n', False),
    ],
)
def test_an_end_is_distinguished_from_a_cut(tail: bytes, expected: bool) -> None:
    assert ends_complete(tail) is expected


def test_an_error_event_stands_alone_after_the_whole_events_of_a_cut_stream() -> None:
    cut = b'data: {"choices":[]}\n\ndata: {"choices":[{"del'

    passed = cut[: last_event_end(cut)]
    *_, last = iter_events(passed + error_event(passed, 'broke "off"', "api_error", "stream_cut"))

    error = {"message": 'broke "off"', "type": "api_error", "param": None, "code": "stream_cut"}
    assert json.loads(last) == {"error": error}


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"", 0),
        (b"data: ha", 0),
        (b"data: a\n\n", 9),
        (b"data: a\n\ndata: b", 9),
        (b"data: a\r\n\r\ndata: b\r\n", 11),
        (b"data: a\r\n\r\ndata: b\n\nda", 20),
        (b"data: a\r\rda", 9),
        (b"data: a\n\r\nda", 10),
        (b"data: a\r\n\nda", 10),
        (b"data: a\r\r\nda", 10),
        (b"data: a\r\n\rda", 10),
        (b"data: a\r", 0),
        (b"data: a\r\nevent: b\r\n", 0),
    ],
)
def test_only_whole_events_count(data: bytes, whole: int) -> None:
    assert last_event_end(data) == whole


ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n", b"\r\n\n", b"\r\r\n", b"\r\n\r", b"\n\r")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_every_mix_of_line_ends_passes_each_event_as_soon_as_it_is_whole(size: int) -> None:
    """However the stream is cut into pieces, nothing is lost and no whole event is held back."""
    stream = b"".join(b"data: %d" % number + end for number, end in enumerate(ENDS * 2))
    splitter = EventSplitter()
    passed = b""

    for start in range(0, len(stream), size):
        passed += splitter.feed(stream[start : start + size])
        arrived = stream[: start + size]
        # The second half of a CRLF may follow an event that has passed.
        assert len(passed) in (last_event_end(arrived), last_event_end(arrived) - 1)

    assert passed + splitter.take_rest() == stream
    assert list(iter_events(passed)) == [b"%d" % number for number in range(16)]


def test_an_event_in_many_pieces_passes_whole() -> None:
    splitter = EventSplitter()

    held = [splitter.feed(b"x" * 1000) for _ in range(1000)]

    assert set(held) == {b""}
    assert len(splitter.feed(b"\n\ny")) == 1_000_002
    assert splitter.take_rest() == b"y"


def test_what_is_longer_than_any_event_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LONGEST_HELD_BYTES", 10)
    splitter = EventSplitter()

    assert splitter.feed(b"data: 123") == b""
    assert splitter.feed(b"45") == b"data: 12345"
    assert splitter.is_over_limit
    assert splitter.feed(b"6") == b"6"
