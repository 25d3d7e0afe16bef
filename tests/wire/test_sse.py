"""Event streams are read as the standard says, and cut ones are distinguished from whole ones."""

from __future__ import annotations

import json

import pytest

from gateway.wire.sse import ends_complete, error_event, iter_events, last_event_end


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
    ],
)
def test_only_whole_events_count(data: bytes, whole: int) -> None:
    assert last_event_end(data) == whole
