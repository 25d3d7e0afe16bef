"""Any body is a request or refused in OpenAI's shape, and what we read in it is what every reader reads."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core import IncomingRequest, Request
from gateway.errors import RequestError, UnreadableBodyError
from gateway.wire import large_body
from gateway.wire.body import read_body
from gateway.wire.chat.kept import keep_chat
from gateway.wire.chat.request import read_chat
from gateway.wire.embeddings import read_embeddings, read_encoder_request
from gateway.wire.form_model import FormModel
from gateway.wire.large_body import count_in_steps, refuse_costly_body
from gateway.wire.responses.request import read_responses
from gateway.wire.unread import describe_unread
from tests.fuzzing.test_event_streams import CUTS, cut_into_pieces
from tests.support.builders import incoming

NAMES = (  # noqa: SIM905 - a list of 28 lines says no more
    "model Model messages input role content type text stream stream_options n stop tools function name "
    "parameters tool_choice response_format max_tokens seed logprobs tool_calls arguments dimensions "
    "encoding_format instructions store previous_response_id"
).split()
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6)
    | st.sampled_from(["user", "system", "text", "input_text", "function", "json_object", "gpt-4o"])
)  # fmt: skip
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=15,
)
FIELDS = st.dictionaries(st.sampled_from(NAMES), TREES, max_size=6)
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": SCALARS, "content": TREES}, optional={"name": TREES}), max_size=3
)
REQUESTS = FIELDS.flatmap(
    lambda fields: st.fixed_dictionaries(
        {"model": st.just("gpt-4o"), "messages": MESSAGES, "input": MESSAGES | TREES}
    ).map(lambda whole: {**whole, **fields})
)
PIECES = st.sampled_from(
    [
        *[
            ",",
            "}",
            "{",
            "[",
            "]",
            '"',
            "\\",
            "\ud83d",
            "\x00",
            " ",
            "1e999",
            "null",
            "-0",
            "\\ud800",
            "\ufeff",
        ],
        *['{"model":"a"', '"model"', '"mod\\u0065l"', ':"b"', "true", "9" * 30, '{"input":"x"'],
        *['"messages":[]', '"role":"user"'],
    ]
)
TEXTS = st.lists(PIECES, max_size=15).map(lambda parts: "".join(parts).encode(errors="surrogatepass"))
BODIES = (
    REQUESTS.map(lambda value: json.dumps(value).encode())
    | TREES.map(lambda value: json.dumps(value).encode())
    | TEXTS
)
READERS: list[Callable[[IncomingRequest], Request]] = [read_chat, read_responses, read_embeddings]


class _Named(msgspec.Struct):
    model: str | None = None


_NAMED = msgspec.json.Decoder(_Named)


def is_in_shape(exc: RequestError) -> bool:
    """Whether a refusal can be sent: a status of the client's, a message that is not without end."""
    return 400 <= exc.status < 500 and 0 < len(str(exc)) < 1_000 and json.dumps(str(exc)).isascii()


@given(BODIES | st.binary(max_size=40))
@example(b'{"model":"a","mod\\u0065l":"b"}')
@example(b"[" * 100_000)
@example(b'{"model":' * 10_000)
def test_a_model_that_is_read_is_the_one_that_every_reader_finds(body: bytes) -> None:
    try:
        fields, raw = read_body(body, _NAMED, (b'"model"',))
    except RequestError as exc:
        assert is_in_shape(exc)
        return
    pairs: list[tuple[str, Any]] = json.loads(body, object_pairs_hook=list)
    models = [value for name, value in pairs if name.lower() == "model"]
    assert models == ([fields.model] if "model" in raw else [])


@given(BODIES | st.binary(max_size=40))
def test_any_body_is_a_request_of_each_api_or_refused(body: bytes) -> None:
    for read in READERS:
        asked = incoming(body=body)
        try:
            request = read(asked)
        except UnreadableBodyError as exc:
            assert is_in_shape(exc)
            passes_unread(asked, exc)
        except RequestError as exc:
            assert is_in_shape(exc)
        else:
            assert request.content == body
            if read is read_chat and (kept := keep_chat(request)):
                assert isinstance(json.loads(kept.messages), list)
            if read is read_embeddings and not request.unsupported_reason:
                encode_or_refuse(request)


def passes_unread(asked: IncomingRequest, cause: UnreadableBodyError) -> None:
    """What we cannot read, another teacher may: it passes, or is refused for the same cause."""
    try:
        assert describe_unread(asked, "chat", cause).content == asked.body
    except RequestError as exc:
        assert exc is cause


def encode_or_refuse(request: Request) -> None:
    try:
        assert read_encoder_request(request).texts
    except RequestError as exc:
        assert is_in_shape(exc)


def count(value: object) -> tuple[int, int, int]:
    """Return the objects and arrays in a JSON value, its commas, and its depth."""
    if not isinstance(value, dict | list):
        return 0, 0, 0
    inner = [count(one) for one in (value.values() if isinstance(value, dict) else value)]
    commas = max(0, len(value) - 1) + sum(one[1] for one in inner)
    return 1 + sum(one[0] for one in inner), commas, 1 + max((one[2] for one in inner), default=0)


LIMITS = ("MOST_OBJECTS", "MOST_VALUES", "MOST_DEPTH")


@given(
    TREES,
    st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(0, 4)),
    st.integers(2, 40),
    st.booleans(),
)
def test_a_body_is_refused_for_what_its_decoder_would_find(
    value: object, limits: tuple[int, int, int], step: int, is_ascii: bool
) -> None:
    body = json.dumps(value, ensure_ascii=is_ascii).encode(errors="surrogatepass")
    is_over = any(found > most for found, most in zip(count(value), limits, strict=True))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_body, "STEP_BYTES", step)
        for name, most in zip(LIMITS, limits, strict=True):
            patch.setattr(large_body, name, most)
        try:
            refuse_costly_body(body)
        except UnreadableBodyError as exc:
            assert is_over
            assert (exc.status, exc.code) == (413, "request_too_large")
        else:
            assert not is_over


@given(st.binary(max_size=60) | TEXTS, st.integers(1, 20), st.sampled_from([b'"model"', b"{", b"ab"]))
def test_counting_in_steps_is_counting(body: bytes, step: int, what: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_body, "STEP_BYTES", step)

        assert count_in_steps(body, what) == body.count(what)


@given(st.binary(max_size=200) | TEXTS)
def test_any_bytes_can_be_counted(body: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_body, "MOST_DEPTH", 3)
        with contextlib.suppress(UnreadableBodyError):
            refuse_costly_body(body)


FORM_PIECES = st.sampled_from(
    [
        *[b"--b", b"--b--", b"\r\n", b"\r", b"\n", b": ", b"\0", b"\xff", b";", b"x" * 50, b"whisper-1"],
        b'content-disposition: form-data; name="model"',
        b'content-disposition: form-data; name="file"; filename="a"',
        *[b"content-type: text/plain", b"--b--\r\n", b'; name*="x"'],
        b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n',
        b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n',
    ]
)


def read_form(pieces: list[bytes]) -> tuple[str, tuple[str, ...]] | None:
    """Return the model and the objects of a form, None if it is refused."""
    try:
        form = FormModel(b"multipart/form-data; boundary=b")
        for piece in pieces:
            form.feed(piece)
        form.settle(is_over=True)
    except RequestError as exc:
        assert is_in_shape(exc)
        return None
    return form.model, form.object_ids


@given(st.lists(FORM_PIECES, max_size=12).map(b"".join) | st.binary(max_size=40), CUTS)
def test_a_form_names_the_same_however_it_is_cut(form: bytes, cuts: list[int]) -> None:
    assert read_form(cut_into_pieces(form, cuts)) == read_form([form])
