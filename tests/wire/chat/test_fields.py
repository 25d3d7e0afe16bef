"""A malformed request is refused in OpenAI's words, with the field at fault."""

from __future__ import annotations

import json

import pytest

from gateway.errors import RequestError, UnreadableBodyError
from gateway.wire.chat.fields import read_fields
from tests.wire.chat.requests import HELLO

REST = b'"messages":[{"role":"user","content":"x"}]'


@pytest.mark.parametrize(
    ("body", "param", "code", "message"),
    [
        (
            b'{"model":"m"}',
            "messages",
            "missing_required_parameter",
            "Missing required parameter: 'messages'.",
        ),
        (
            b'{"model":"m","messages":[{}]}',
            "messages[0].role",
            "missing_required_parameter",
            "Missing required parameter: 'messages[0].role'.",
        ),
        (
            b'{"model":5,' + REST + b"}",
            "model",
            "invalid_type",
            "Invalid type for 'model': expected str, got int.",
        ),
        (
            b"[]",
            None,
            None,
            "We could not parse the JSON body of your request: Expected object, got array.",
        ),
    ],
)
def test_the_complaint_is_openais(body: bytes, param: str | None, code: str | None, message: str) -> None:
    with pytest.raises(RequestError) as refusal:
        read_fields(body)

    assert (refusal.value.param, refusal.value.code, str(refusal.value)) == (param, code, message)
    assert refusal.value.status == 400


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"model":"a","model":"b",' + REST + b"}", "model"),
        (b'{"model":"a","mod\\u0065l":"b",' + REST + b"}", "model"),
        (b'{"\\u006dodel":"a","mod\\u0065l":"b",' + REST + b"}", "model"),
        (b'{"model":"a",' + REST + b"," + REST + b"}", "messages"),
        (b'{"model":"a","stream":true,"stream":true,' + REST + b"}", "stream"),
    ],
)
def test_a_field_that_is_given_twice_is_refused(body: bytes, name: str) -> None:
    with pytest.raises(RequestError, match="Duplicate") as refusal:
        read_fields(body)

    assert refusal.value.param == name


@pytest.mark.parametrize("name", ["Model", "MODEL", "Stream"])
def test_a_field_in_another_case_is_not_overlooked(name: str) -> None:
    """Some teachers would take it for ours, so none of ours may be judged without it."""
    with pytest.raises(UnreadableBodyError, match="Did you mean"):
        read_fields(json.dumps({"model": "m", "messages": [HELLO], name: "giant"}).encode())


def test_the_same_word_deeper_down_is_no_duplicate() -> None:
    """A schema may have a `model`, a text may quote "model", and both may hold an é."""
    schema = {"properties": {"model": {}, "stream": {}, "messages": {}}, "required": ["model", "stream"]}
    body = {
        "model": "m",
        "messages": [HELLO],
        "response_format": {"type": "json_schema", "json_schema": schema},
    }
    body["user"] = 'the "model" é'

    fields, _ = read_fields(json.dumps(body).encode())

    assert fields.user == 'the "model" é'


def test_numbers_that_python_cannot_hold_survive_the_search_for_duplicates() -> None:
    """A closer look at a body reads no numbers: 5,000 digits are the teacher's business."""
    read_fields(b'{"model":"m\\u0020",' + REST + b',"new":' + b"9" * 5000 + b"}")


def test_big_whole_numbers_in_known_fields_pass() -> None:
    fields, _ = read_fields(b'{"model":"m",' + REST + b',"seed":' + b"9" * 30 + b"}")

    assert fields.seed == int("9" * 30)


@pytest.mark.parametrize("text", ["\u0000", "\U0001f600", "\u2028", "e\u0301"])
def test_any_valid_text_passes(text: str) -> None:
    for ascii_only in (True, False):
        body = {"model": "m", "messages": [{"role": "user", "content": text}]}
        fields, _ = read_fields(json.dumps(body, ensure_ascii=ascii_only).encode())

        assert fields.messages[0].text == text
