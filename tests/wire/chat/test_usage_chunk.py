"""Usage is asked for in the client's own bytes, and the chunk with it is kept from the client."""

from __future__ import annotations

import json

import pytest

from gateway.wire.chat.usage_chunk import ask_for_usage, drop_usage_chunk

TEXT = b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}],"usage":null}'
USAGE = b'data: {"id":"c","choices": [],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}'
LAST = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":9}}'


def test_the_body_stays_as_it_was_but_for_the_field() -> None:
    body = b'{ "model":"gpt-4o",\n "odd": 1e2, "stream": true }\n'

    changed = ask_for_usage(body)

    assert changed is not None
    assert changed.startswith(body.rstrip()[:-1])
    assert json.loads(changed) == {**json.loads(body), "stream_options": {"include_usage": True}}


@pytest.mark.parametrize(
    "body", [b'{"stream_options":null}', b'{"stream_options":{"include_usage":false}}', b"[1]", b""]
)
def test_what_the_client_says_itself_is_left(body: bytes) -> None:
    assert ask_for_usage(body) is None


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\n\r\n"])
def test_only_the_chunk_of_usage_alone_is_dropped(end: bytes) -> None:
    """`usage: null` stays, as does a last chunk of text that has usage, too."""
    events = [b": ping", TEXT, USAGE, LAST, b"data: [DONE]"]
    stream = b"".join(event + end for event in events)

    assert drop_usage_chunk(stream) == stream.replace(USAGE + end, b"")


@pytest.mark.parametrize(
    "odd", [b'data: {"usage":\n\n', b"data: [1]\n\n", b'data: {"choices":[],"usage":null}\n\n']
)
def test_what_is_not_a_chunk_of_usage_passes(odd: bytes) -> None:
    assert drop_usage_chunk(odd) == odd
