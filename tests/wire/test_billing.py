"""Usage is found in any answer: whole or streamed, short or endless, plain or encoded, cut or damaged."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable

import brotli
import pytest
from backports import zstd

from gateway.core import Outcome, Usage
from gateway.wire.billing import read_billing, read_lines
from gateway.wire.chat.reading import parse_answer
from gateway.wire.long_answer import HEAD_BYTES, PLACE_BYTES, TAIL_BYTES, LongAnswer
from gateway.wire.surfaces import read_outcome
from tests.support.builders import outcome

USAGE = {"prompt_tokens": 50, "completion_tokens": 6000, "total_tokens": 6050}
READ = Usage(50, 6000)
MESSAGE = {"role": "assistant", "content": 'a "usage" of \\ 3 {"usage": {"prompt_tokens": 1}} '}


def whole(padding: int, **fields: object) -> bytes:
    """Return an answer of about `padding` bytes; `fields` stand at its end."""
    message = {**MESSAGE, "content": MESSAGE["content"] + "w" * padding}
    return json.dumps({"id": "c1", "model": "gpt-4o", "choices": [{"message": message}], **fields}).encode()


def excerpt_of(
    answer: bytes, encoding: str = "", step: int = 10_007, *, is_event_stream: bool = False
) -> Outcome:
    """Return the outcome of a long answer that came in pieces of `step` bytes."""
    long = LongAnswer(encoding)
    for at in range(0, len(answer), step):
        long.take(answer[at : at + step])
    facts = {"is_captured": False, "encoding": encoding, "is_event_stream": is_event_stream}
    return outcome(excerpt=long.excerpt(), **facts)


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("", bytes),
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda data: zlib.compress(data, wbits=-15)),
        ("br", brotli.compress),
        ("zstd", zstd.compress),
    ],
)
def test_usage_at_the_end_of_a_long_answer_is_found(encoding: str, encode: Callable[[bytes], bytes]) -> None:
    answer = whole(3_000_000, usage=USAGE, service_tier="flex")

    for read in (excerpt_of(encode(answer), encoding), outcome(answer=encode(answer), encoding=encoding)):
        reading = read_outcome(read)
        assert (reading.usage, reading.model, reading.service_tier) == (READ, "gpt-4o", "flex")


@pytest.mark.parametrize("step", [1, 7, 10_000_000])
def test_the_pieces_of_an_answer_do_not_matter(step: int) -> None:
    answer = whole(5_000, usage=USAGE)

    assert read_outcome(excerpt_of(answer, step=step)).usage == READ


def test_usage_before_the_bytes_of_an_image_is_found() -> None:
    answer = json.dumps(
        {"created": 1, "usage": {"input_tokens": 9, "output_tokens": 4000}, "data": ["A" * 2_000_000]}
    )

    assert read_outcome(excerpt_of(answer.encode())).usage == Usage(9, 4000)


def test_usage_in_the_middle_of_a_long_stream_is_found() -> None:
    """The last event of an image may hold its bytes behind the usage."""
    event = {"type": "image_generation.completed", "usage": {"input_tokens": 9, "output_tokens": 5}}
    answer = (
        b"data: {}\n\n" * 50_000
        + b"data: "
        + json.dumps({**event, "b64_json": "A" * 900_000}).encode()
        + b"\n\n"
    )

    assert read_outcome(excerpt_of(answer, is_event_stream=True)).usage == Usage(9, 5)


def test_a_long_answer_is_never_kept_whole() -> None:
    excerpt = excerpt_of(whole(3_000_000, usage=USAGE) + b'"usage":{}' * 1000).excerpt

    assert excerpt is not None
    assert len(excerpt.head) == HEAD_BYTES
    assert len(excerpt.tail) == TAIL_BYTES
    assert sum(map(len, excerpt.usages)) <= 8 * PLACE_BYTES
    assert excerpt.size_bytes > 3_000_000


def test_a_long_stream_without_usage_is_estimated_by_what_its_beginning_is_like() -> None:
    chunk = b'data: {"choices":[{"index":0,"delta":{"content":" word"}}]}\n\n'

    assert read_outcome(excerpt_of(chunk * 40_000, is_event_stream=True)).written_bytes == pytest.approx(
        200_000, rel=0.01
    )


def test_the_last_usage_of_a_stream_counts() -> None:
    """Some servers report after every chunk; the parts of Anthropic's stand in two events."""
    running = b"".join(
        b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":%d}}\r\n\r\n' % n
        for n in range(5)
    )
    parts = (
        b'data: {"message":{"model":"claude","usage":{"input_tokens":9,"output_tokens":1}}}\n\n'
        b'data: {"type":"message_delta","usage":{"output_tokens":4}}\r\n\r\n'
    )

    assert read_billing(running, is_event_stream=True).usage == Usage(9, 4)
    facts = read_billing(parts, is_event_stream=True)
    assert (facts.usage, facts.model) == (Usage(9, 4), "claude")


def test_line_ends_may_be_mixed() -> None:
    stream = (
        b'data: {"model":"m","choices":[]}\r\r'
        b'data: {"usage":{"prompt_tokens":9,"completion_tokens":2}}\n\r\ndata: [DONE]\n\n'
    )

    assert read_billing(stream, is_event_stream=True).usage == Usage(9, 2)


def test_a_response_object_says_its_tools_status_and_tier() -> None:
    response = {
        "id": "resp_1",
        "status": "completed",
        "model": "gpt-5",
        "service_tier": "flex",
        "output": [{"type": "web_search_call"}],
        "usage": {"input_tokens": 9, "output_tokens": 2},
    }
    event = json.dumps({"type": "response.done", "response": response}).encode()

    for facts in (
        read_billing(json.dumps(response).encode(), is_event_stream=False),
        read_billing(b"data: " + event + b"\n\n", is_event_stream=True),
    ):
        assert (facts.usage, facts.id, facts.status) == (Usage(9, 2, web_searches=1), "resp_1", "completed")
        assert (facts.model, facts.service_tier) == ("gpt-5", "flex")


def test_each_line_of_a_batchs_output_is_read() -> None:
    line = {"custom_id": "1", "response": {"status_code": 200, "body": {"model": "gpt-4o", "usage": USAGE}}}
    content = b"\n".join([json.dumps(line).encode(), b"odd", json.dumps({"error": "x"}).encode()])

    assert [(facts.model, facts.usage) for facts in read_lines(content)] == [("gpt-4o", READ)]


@pytest.mark.parametrize("content", [b"", b"<html>", b"[1]", b"[" * 100_000, b"\xff", b"null", b'{"usage":'])
def test_anything_else_says_nothing(content: bytes) -> None:
    for is_event_stream in (True, False):
        assert read_billing(content, is_event_stream=is_event_stream).usage is None


def test_a_cut_answer_says_which_model_was_writing() -> None:
    """The client left: it is booked as far as it was received."""
    reading = read_outcome(outcome(answer=whole(1000)[:700], is_complete=False))

    assert (reading.model, reading.usage, reading.text) == ("gpt-4o", None, None)
    assert reading.written_bytes == pytest.approx(700, abs=50)


def test_text_of_any_shape_is_counted() -> None:
    """Content in parts, reasoning beside it, refusals, several choices, calls."""
    shapes: list[list[object]] = [
        [
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm hm"}]},
                    {"type": "text", "text": "42"},
                ]
            }
        ],
        [{"content": "42", "reasoning_content": "hm hm"}],
        [{"content": None, "refusal": "no, 42!"}],
        [{"content": "12"}, {"content": "34567"}],
        [
            {
                "content": None,
                "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "calls", "input": "42"}}],
            }
        ],
    ]
    for messages in shapes:
        choices = [{"index": index, "message": message} for index, message in enumerate(messages)]
        answer = json.dumps({"model": "m", "choices": choices}).encode()
        assert read_outcome(outcome(answer=answer)).written_bytes == 7, messages


def test_usage_is_found_where_other_teachers_put_it() -> None:
    """Moonshot writes it into the last choice of a stream; some end with a chunk of zeros."""
    said = {"prompt_tokens": 9, "completion_tokens": 2}
    zeros = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    first = {"model": "m", "choices": [{"index": 0, "delta": {"content": "hi"}}]}
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    in_choice = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": said}]}

    for events in ([first, in_choice], [first, last, {"usage": said}, {"choices": [], "usage": zeros}]):
        stream = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)

        assert read_billing(stream, is_event_stream=True).usage == Usage(9, 2)
        assert parse_answer(stream, True, True).usage == Usage(9, 2)
