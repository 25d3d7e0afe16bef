"""Event streams with any line ends, cut anywhere: the same events, none held back, no byte lost."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.wire.chat import reading as chat_reading
from gateway.wire.responses import reading as responses_reading
from gateway.wire.sse import EventSplitter, ends_complete, error_event, iter_events, last_event_end

ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
LINES = st.sampled_from(
    [
        *[b"", b"data:", b"data: a", b"data:b", b"data", b": note", b"event: x", b"id: 7", b"data: [DONE]"],
        *[b'data: {"choices":[{"finish_reason":"stop"}]}', b'data: {"error":{"message":"x"}}', b"data: {"],
        b'data: {"type":"response.completed","response":{"usage":{"input_tokens":1}}}',
        *[b"\xe2\x80\xa8", b"\x0b\x0c", b"data: [[[[", b"\xff"],
    ]
)
STREAMS = st.builds(
    lambda lines, tail: b"".join(line + end for line, end in lines) + tail,
    st.lists(st.tuples(LINES, ENDS) | st.tuples(st.just(b""), ENDS), max_size=20),
    LINES,
)
ANY = (
    STREAMS
    | st.binary(max_size=60)
    | st.lists(st.sampled_from([b"\r", b"\n", b"x"]), max_size=12).map(b"".join)
)
CUTS = st.lists(st.integers(0, 80), max_size=8)
_LINE = re.compile(rb"([^\r\n]*)(?:\r\n|\r|\n)")


def cut_into_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[start:end] for start, end in pairwise(places)]


def find_end_of_events(data: bytes) -> int:
    """Return where the last empty line ends that follows another line, line by line from the beginning."""
    lines = [*_LINE.finditer(data)][1:]
    return max((line.end() for line in lines if not line[1]), default=0)


@given(ANY, CUTS)
@example(b"data: a\n\n\r\n", [9])
def test_no_byte_is_lost_or_changed_and_no_whole_event_is_held_back(data: bytes, cuts: list[int]) -> None:
    splitter = EventSplitter()
    arrived = passed = b""

    for piece in cut_into_pieces(data, cuts):
        arrived += piece
        passed += splitter.feed(piece)
        assert arrived.startswith(passed)
        # Line ends after an event that has passed may wait for the next one.
        assert not arrived[len(passed) : last_event_end(arrived)].strip(b"\r\n")

    assert passed + splitter.take_rest() == data


@given(ANY)
def test_whole_events_end_where_the_standard_says(data: bytes) -> None:
    """Found from behind in one step, and line by line from the beginning."""
    assert last_event_end(data) == find_end_of_events(data)


@given(ANY, CUTS)
def test_events_of_the_pieces_that_pass_are_those_of_the_whole(data: bytes, cuts: list[int]) -> None:
    splitter = EventSplitter()

    passed = [splitter.feed(piece) for piece in cut_into_pieces(data, cuts)]
    passed.append(splitter.take_rest())

    assert [event for piece in passed for event in iter_events(piece)] == list(iter_events(data))


@given(ANY)
def test_an_error_event_can_follow_whatever_has_passed(data: bytes) -> None:
    whole = data[: last_event_end(data)]

    *before, last = iter_events(whole + error_event(whole, "cut", "api_error", "stream_cut"))

    assert before == list(iter_events(whole))
    assert b"stream_cut" in last


@given(ANY)
def test_every_answer_can_be_read(data: bytes) -> None:
    """Whatever the teacher sends, reading it raises nothing: the client has it already."""
    for api in (chat_reading, responses_reading):
        assert api.parse_answer(data, True, True)
        assert api.parse_answer(data, False, False)
    assert ends_complete(data) in (True, False)
    assert responses_reading.ends_complete(data) in (True, False)
