"""Server-sent events arrive unchanged and at once, and never look complete when cut."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from tests.conformance.answers import CHUNK, DONE, STREAM, chat_event, chunk, event, head, stream
from tests.conformance.harness import Harness, WireAnswer, assert_identical, chat_body
from tests.conformance.table import check
from tests.conformance.teacher import Step, pause, wait_for

CHAT = "/chat/completions"
STANDARD = "HTML standard, 9.2 (server-sent events)"
CHUNKS = "API: Chat, streaming; the chat completion chunk object"
OPENING = head(200, "content-type: text/event-stream; charset=utf-8", "transfer-encoding: chunked")
USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}


def arrives(number: int, rule: str, source: str, *pieces: bytes, **more: object) -> None:
    """Enter a check that the pieces of a stream arrive byte for byte."""

    @check(number, rule, source=source)
    def body(harness: Harness) -> None:
        fields: dict[str, Any] = {"stream": True, **more}
        got = harness.chat(stream(*pieces), **fields)
        assert_identical(got.body, b"".join(pieces))
        assert got.is_whole


def text_arrives(number: int, rule: str, text: str, *pieces: bytes) -> None:
    """Enter a check that the text of a stream arrives."""

    @check(number, rule, source=STANDARD)
    def body(harness: Harness) -> None:
        arrived = stream_text(harness.chat(stream(*pieces), stream=True))
        assert arrived == text, f"{arrived[:40]!r}..."


def stream_text(got: WireAnswer) -> str:
    """Return the text of a stream that ends with [DONE]."""
    *events, last = got.events
    assert last == "[DONE]"
    deltas = [one["choices"][0]["delta"] for one in events if one["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


def delta(**fields: object) -> bytes:
    """Return an event with a delta of these fields."""
    return chat_event(fields)


def call(index: int, arguments: str, **more: object) -> dict[str, object]:
    """Return a piece of a tool call."""
    return {
        "index": index,
        **more,
        "function": {**({"name": "find"} if more else {}), "arguments": arguments},
    }


END = (chat_event({}, "stop"), DONE)
NAMED: dict[str, object] = {"id": "call_1", "type": "function"}
EURO = delta(content="€")
PROBABLE = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}

arrives(401, "a stream arrives byte for byte", CHUNKS, *STREAM)
arrives(402, "line ends of CRLF are kept", STANDARD, *(piece.replace(b"\n", b"\r\n") for piece in STREAM))
arrives(
    403,
    "comments are kept, before and between events",
    STANDARD,
    b": OPENROUTER PROCESSING\n\n",
    STREAM[0],
    b":\n\n",
    *STREAM[1:],
)
arrives(
    404,
    "event, id and retry lines are kept",
    STANDARD,
    b"event: odd\nid: 7\nretry: 100\n" + STREAM[0],
    *STREAM[1:],
)
arrives(405, "data on several lines is kept", STANDARD, b'data: {"a":\ndata: 1,"choices":[]}\n\n', *STREAM)
arrives(
    406,
    "data without a space after the colon is kept",
    STANDARD,
    *(piece.replace(b"data: ", b"data:") for piece in STREAM),
)
text_arrives(407, "many events in one TCP piece all arrive", "Hello!", b"".join(STREAM))
text_arrives(408, "an event in single bytes arrives", "Hello!", *(bytes([byte]) for byte in b"".join(STREAM)))
text_arrives(
    409,
    "a character split over TCP pieces arrives",
    "\u20ac",
    EURO[: EURO.index(b"\xe2") + 1],
    EURO[EURO.index(b"\xe2") + 1 :],
    *END,
)
text_arrives(410, "an event of 1 MB arrives", "x" * 1_000_000, delta(content="x" * 1_000_000), *END)
arrives(
    411,
    "the usage chunk arrives where it was asked for",
    "API: Chat, stream_options.include_usage",
    *STREAM[:-1],
    event({**CHUNK, "choices": [], "usage": USAGE}),
    DONE,
    stream_options={"include_usage": True},
)
arrives(
    412,
    "usage: null of the other chunks is kept",
    "API: Chat, stream_options.include_usage",
    chat_event({"content": "x"}, usage=None),
    *END,
    stream_options={"include_usage": True},
)
arrives(
    413,
    "a tool call in pieces keeps its index",
    "API: Chat, chunk object, tool_calls.index",
    delta(role="assistant", content=None, tool_calls=[call(0, "", **NAMED)]),
    delta(tool_calls=[call(0, '{"city":')]),
    delta(tool_calls=[call(0, '"Bonn"}')]),
    chat_event({}, "tool_calls"),
    DONE,
    tools=[],
)
arrives(
    414,
    "parallel tool calls in pieces keep their indices",
    "API: Function calling, parallel",
    delta(tool_calls=[call(0, "{}", **NAMED), call(1, "", **{**NAMED, "id": "call_2"})]),
    delta(tool_calls=[call(1, "{}")]),
    chat_event({}, "tool_calls"),
    DONE,
)
arrives(
    415,
    "a refusal in pieces is kept",
    "API: Chat, chunk object, refusal",
    delta(role="assistant", refusal=""),
    delta(refusal="I can"),
    delta(refusal="not"),
    *END,
)
arrives(
    416,
    "logprobs of chunks are kept",
    "API: Chat, chunk object, logprobs",
    event(
        {
            **CHUNK,
            "choices": [
                {
                    "index": 0,
                    "delta": {"content": "Hi"},
                    "finish_reason": None,
                    "logprobs": {"content": [PROBABLE], "refusal": None},
                }
            ],
        }
    ),
    *END,
    logprobs=True,
)
arrives(
    417,
    "the padding of chunks is kept",
    "API: Chat, stream_options.include_obfuscation",
    chat_event({"content": "Hi"}, obfuscation="a8F"),
    *END,
)
arrives(
    418,
    "a chunk without choices is kept",
    "API: Chat, chunk object: choices can be empty",
    event({**CHUNK, "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}),
    *STREAM,
)
arrives(
    419,
    "unknown fields of chunks are kept",
    "openai-python _models.py: extra fields stay",
    chat_event({"content": "Hi", "reasoning_content": None}, x_new=[1.0, 2]),
    *END,
)
arrives(
    420,
    "several choices in turn are kept",
    "API: Chat, n",
    *(
        event({**CHUNK, "choices": [{"index": index, "delta": {"content": "x"}, "finish_reason": None}]})
        for index in (1, 0, 1)
    ),
    *END,
    n=2,
)
arrives(
    421, "audio in pieces is kept", "API: Chat, audio output", delta(audio={"id": "a", "data": "AAAA"}), *END
)
arrives(
    422,
    "an error of the teacher during a stream is kept",
    "openai-python _streaming.py: data.error is raised",
    STREAM[0],
    event({"error": {"message": "overloaded", "type": "server_error", "param": None, "code": None}}),
)
arrives(
    423,
    "a finish by the content filter is kept",
    "API: Chat, finish_reason",
    STREAM[0],
    chat_event({}, "content_filter"),
    DONE,
)


@check(431, "an event arrives before the next one is generated", source=CHUNKS)
def live(harness: Harness) -> None:
    gate = threading.Event()
    harness.teacher.play(
        [OPENING, *map(chunk, STREAM[:2]), wait_for(gate), *map(chunk, STREAM[2:]), chunk(b"")]
    )
    with harness.connect() as connection:
        connection.send(harness.request("POST", CHAT, chat_body(stream=True)))
        connection.head()
        seen = b""
        while b"Hel" not in seen:
            seen += connection.reader.read_exactly(1)
        gate.set()
        while DONE not in seen and (more := connection.reader.read_some()):
            seen += more
    assert DONE in seen


@check(432, "the head of a stream arrives before its first event", source=STANDARD)
def early_head(harness: Harness) -> None:
    gate = threading.Event()
    harness.teacher.play([OPENING, wait_for(gate), *map(chunk, STREAM), chunk(b"")])
    with harness.connect() as connection:
        connection.send(harness.request("POST", CHAT, chat_body(stream=True)))
        connection.socket.settimeout(15)
        try:
            assert (connection.head().value("content-type") or "").startswith("text/event-stream")
        finally:
            gate.set()


@check(433, "a stream is text/event-stream", source=f"{STANDARD}; openai-python _streaming.py")
def kind(harness: Harness) -> None:
    assert (harness.chat(stream=True).value("content-type") or "").startswith("text/event-stream")


@check(434, "a client that asked for no usage gets none", source="API: Chat, stream_options.include_usage")
def no_usage(harness: Harness) -> None:
    def usage_if_asked(request: object) -> Sequence[Step]:
        is_asked_for = b"include_usage" in harness.teacher.last.body
        pieces = (event({**CHUNK, "choices": [], "usage": USAGE}),) if is_asked_for else ()
        return stream(*STREAM[:-1], *pieces, DONE)

    default_play, harness.teacher.default_play = harness.teacher.default_play, usage_if_asked
    try:
        got = harness.chat(stream=True)
    finally:
        harness.teacher.default_play = default_play
    assert not [one for one in got.events if one != "[DONE]" and one.get("usage")]


@check(435, "[DONE] comes once, at the end", source="API: Chat, streaming: terminated by data: [DONE]")
def done_once(harness: Harness) -> None:
    got = harness.chat(stream=True)
    assert got.body.count(b"[DONE]") == 1
    assert got.body.endswith(DONE)


@check(456, "20 MB of events reach a client that reads slowly", source="RFC 9293, 3.8.6: flow control")
def slow_reader(harness: Harness) -> None:
    big = chunk(delta(content="x" * 200_000))
    harness.teacher.play([OPENING, *[big] * 100, chunk(DONE), chunk(b"")])
    with harness.connect() as connection:
        connection.send(harness.request("POST", CHAT, chat_body(stream=True)))
        time.sleep(0.2)
        got = connection.got()
    assert got.is_whole
    assert stream_text(got) == "x" * 20_000_000


@check(457, "a pause of the teacher between events does not end a stream", source=STANDARD)
def slow_teacher(harness: Harness) -> None:
    steps = [step for piece in STREAM for step in (chunk(piece), pause(0.1))]
    assert stream_text(harness.chat([OPENING, *steps, chunk(b"")], stream=True)) == "Hello!"
