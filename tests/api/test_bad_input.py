"""Any bad input is answered with OpenAI's error object, and the next request works."""

from __future__ import annotations

import pytest

from tests.api.site_server import CHAT, SiteServer, ask_on, chat_body

HELLO = b'"model":"m","messages":[{"role":"user","content":"hello"}]'
DEEP = b"[" * 100_000 + b"]" * 100_000

BAD_BODIES: dict[str, tuple[bytes, str | None]] = {
    "empty body": (b"", None),
    "not JSON": (b"hello", None),
    "cut short": (b'{"model":"m","messages":[', None),
    "trailing rubbish": (b"{" + HELLO + b"} x", None),
    "byte order mark": (b"\xef\xbb\xbf{" + HELLO + b"}", None),
    "NaN": (b"{" + HELLO + b',"x":NaN}', None),
    "an array": (b"[]", None),
    "a string": (b'"hello"', None),
    "null": (b"null", None),
    "bad UTF-8 in content": (b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}', None),
    "bad UTF-8 in an unknown field": (b"{" + HELLO + b',"x":"\xff"}', None),
    "bad UTF-8 in a key": (b"{" + HELLO + b',"\xff":1}', None),
    "UTF-8 encoded surrogate": (b"{" + HELLO + b',"x":"\xed\xa0\x80"}', None),
    "UTF-16": (("{" + HELLO.decode() + "}").encode("utf-16"), None),
    "lone surrogate": (b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}', None),
    "lone surrogate in the model": (b'{"model":"\\udfff","messages":[{"role":"user","content":"x"}]}', None),
    "NUL byte": (b'{"model":"m\x00","messages":[{"role":"user","content":"x"}]}', None),
    "only NUL bytes": (b"\x00" * 100, None),
    "nested messages": (b'{"model":"m","messages":' + DEEP + b"}", None),
    "nested content": (b'{"model":"m","messages":[{"role":"user","content":[{"x":' + DEEP + b"}]}]}", None),
    "nested unknown field": (b"{" + HELLO + b',"x":' + DEEP + b"}", None),
    "nested and never closed": (b"{" + HELLO + b',"x":' + b"[" * 100_000, None),
    "nested objects": (b"{" + HELLO + b',"x":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}", None),
    "no model": (b'{"messages":[{"role":"user","content":"x"}]}', "model"),
    "empty model": (b'{"model":"","messages":[{"role":"user","content":"x"}]}', "model"),
    "number as model": (b'{"model":7,"messages":[{"role":"user","content":"x"}]}', "model"),
    "null model": (b'{"model":null,"messages":[{"role":"user","content":"x"}]}', "model"),
    "no messages": (b'{"model":"m"}', "messages"),
    "empty messages": (b'{"model":"m","messages":[]}', "messages"),
    "null messages": (b'{"model":"m","messages":null}', "messages"),
    "object as messages": (b'{"model":"m","messages":{"role":"user"}}', "messages"),
    "string as messages": (b'{"model":"m","messages":"hello"}', "messages"),
    "string as message": (b'{"model":"m","messages":["hello"]}', "messages[0]"),
    "no role": (b'{"model":"m","messages":[{"content":"x"}]}', "messages[0].role"),
    "number as role": (b'{"model":"m","messages":[{"role":1,"content":"x"}]}', "messages[0].role"),
    "number as content": (b'{"model":"m","messages":[{"role":"user","content":5}]}', "messages[0].content"),
    "object as content": (b'{"model":"m","messages":[{"role":"user","content":{}}]}', "messages[0].content"),
    "number as part": (b'{"model":"m","messages":[{"role":"user","content":[5]}]}', "messages[0].content[0]"),
    "string as stream": (b"{" + HELLO + b',"stream":"yes"}', "stream"),
    "string as temperature": (b"{" + HELLO + b',"temperature":"hot"}', "temperature"),
    "float as max_tokens": (b"{" + HELLO + b',"max_tokens":1.5}', "max_tokens"),
    "huge exponent": (b"{" + HELLO + b',"temperature":1e999}', "temperature"),
    "5,000 digits": (b"{" + HELLO + b',"seed":' + b"9" * 5000 + b"}", "seed"),
    "string as stop item": (b"{" + HELLO + b',"stop":["a",1]}', "stop[1]"),
    "object as tools": (b"{" + HELLO + b',"tools":{}}', "tools"),
    "string as response_format": (b"{" + HELLO + b',"response_format":"json"}', "response_format"),
    "typeless response_format": (b"{" + HELLO + b',"response_format":{}}', "response_format.type"),
    "string as stream_options": (b"{" + HELLO + b',"stream_options":"usage"}', "stream_options"),
    "two models": (b"{" + HELLO + b',"model":"other"}', "model"),
    "two lists of messages": (b"{" + HELLO + b',"messages":[{"role":"user","content":"y"}]}', "messages"),
    "two streams": (b"{" + HELLO + b',"stream":true,"stream":false}', "stream"),
    "a second model in disguise": (b"{" + HELLO + b',"mod\\u0065l":"other"}', "model"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body_is_refused_and_the_connection_lives(own_site: SiteServer, name: str) -> None:
    """400 in OpenAI's shape with the param at fault; a good request on the same connection works."""
    body, param = BAD_BODIES[name]
    connection = own_site.connect()

    response = ask_on(connection, "POST", CHAT, body)
    after = ask_on(connection, "POST", CHAT, chat_body())
    connection.close()

    assert response.status == 400
    assert response.error["param"] == param
    assert response.error["type"] == "invalid_request_error"
    assert after.status == 200
    assert len(own_site.flow.requests) == 1


@pytest.mark.parametrize(
    ("header", "value"),
    [("x-stepdown-mode", "fast"), ("x-stepdown-mode", ""), ("x-stepdown-harvest", "maybe")],
)
def test_an_unknown_value_of_a_control_header_is_refused(site: SiteServer, header: str, value: str) -> None:
    response = site.chat({header: value})

    assert response.status == 400
    assert response.error["param"] == header


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1x/models", "/admin", "/v1/../secret", "/v1/%2e%2e/secret", "//v1/models"]
)
def test_a_path_outside_is_not_found(site: SiteServer, path: str) -> None:
    response = site.ask("GET", path)

    assert response.status == 404
    assert response.error["code"] == "unknown_url"
    assert response.header("x-stepdown-request-id")
    assert not site.teacher.calls


def test_a_chat_path_in_another_spelling_is_still_judged(site: SiteServer) -> None:
    """A percent-encoded path cannot smuggle a chat past the flow."""
    response = site.ask("POST", "/v1/chat%2Fcompletions", chat_body())

    assert response.status == 200
    assert not site.teacher.calls
