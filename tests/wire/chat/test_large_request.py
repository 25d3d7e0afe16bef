"""A chat request over 1 MB is read in steps; its long texts stay as they were written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core import Message
from gateway.errors import RequestError
from gateway.wire.large_body import LARGE_BYTES
from tests.wire.chat.requests import HELLO, chat_request, read_chat_body

LONG = "a long text, " * (LARGE_BYTES // 10)
MANY: list[dict[str, Any]] = [{"role": "user", "content": f"{number} " * 100} for number in range(5000)]


def test_the_facts_of_a_large_request_are_read() -> None:
    request = chat_request(HELLO, {"role": "user", "content": LONG}, stream=True, max_tokens=7, store=True)

    assert (request.model, request.is_streamed, request.max_tokens) == ("gpt-4o", True, 7)
    assert request.messages == (Message("user", "hello"), Message("user", LONG))
    assert request.unsupported_reason == "store"


def test_no_specialist_gets_it() -> None:
    assert chat_request({"role": "user", "content": LONG}).unsupported_reason == "large body"
    assert chat_request(*MANY).unsupported_reason == "large body"


def test_many_small_messages_are_those_of_the_client() -> None:
    request = chat_request(*MANY)

    assert request.messages == tuple(Message("user", message["content"]) for message in MANY)


def test_a_long_text_keeps_its_escapes_and_a_short_one_does_not() -> None:
    request = chat_request({"role": "user", "content": "\n"}, {"role": "user", "content": "\n" * LARGE_BYTES})

    assert [message.text for message in request.messages] == ["\n", "\\n" * LARGE_BYTES]


def test_long_parts_are_read_by_kind() -> None:
    image = {"type": "image_url", "image_url": {"url": LONG}}

    shown = chat_request({"role": "user", "content": [image, {"type": "text", "text": "what is it?"}]})
    told = chat_request({"role": "user", "content": [{"type": "text", "text": LONG}]})

    assert (shown.text, shown.unsupported_reason) == ("\nwhat is it?", "image part")
    assert (told.text, told.unsupported_reason) == (LONG, "large body")


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": 1, "content": LONG}, "messages[1].role"),
        ({"content": LONG}, "messages[1].role"),
        ({"role": "user", "content": [{"type": 7, "text": LONG}]}, "messages[1].content[0].type"),
        ({"role": "user", "content": {"text": LONG}}, "messages[1].content"),
        ([LONG], "messages[1]"),
        (7, "messages[1]"),
    ],
)
def test_a_wrong_field_is_named(message: Any, param: str) -> None:
    body = {"model": "m", "messages": [HELLO, message], "metadata": {"pad": LONG}}

    with pytest.raises(RequestError) as refused:
        read_chat_body(json.dumps(body).encode())

    assert refused.value.param == param


@pytest.mark.parametrize("name", [b'"model"', b'"mod\\u0065l"', b'"messages"', b'"stream"'])
def test_a_field_given_twice_is_refused(name: bytes) -> None:
    text = json.dumps({"metadata": {"model": "x"}, "pad": LONG})[:-1].encode()
    body = text + b', "model": "m", "stream": false, "messages": [{"role": "user", "content": "x"}]}'

    assert read_chat_body(body).model == "m"
    with pytest.raises(RequestError, match="Duplicate parameter"):
        read_chat_body(b"{%b: 1, %b" % (name, body[1:]))


def test_a_long_text_where_none_belongs_is_not_decoded() -> None:
    body = {"model": "m", "messages": [HELLO], "user": LONG}

    assert read_chat_body(json.dumps(body).encode()).unsupported_reason == "large body"
    with pytest.raises(RequestError) as refused:
        read_chat_body(json.dumps({**body, "model": LONG}).encode())

    assert refused.value.param == "model"
