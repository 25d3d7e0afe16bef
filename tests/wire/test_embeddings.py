"""An embeddings request is read without touching its bytes, and our answer has OpenAI's shape."""

from __future__ import annotations

import base64
import json
from array import array

import pytest
from openai.types import CreateEmbeddingResponse

from gateway.core import Request
from gateway.errors import RequestError
from gateway.wire.embeddings import read_embeddings, read_encoder_request, render_list, render_vector
from gateway.wire.surfaces import read_outcome
from tests.support.builders import incoming, outcome


def read(**fields: object) -> Request:
    return read_content(body(**fields))


def read_content(content: bytes) -> Request:
    return read_embeddings(incoming(body=content, target=b"/v1/embeddings"))


def body(**fields: object) -> bytes:
    return json.dumps({"model": "text-embedding-3-small", "input": "a", **fields}).encode()


@pytest.mark.parametrize(("given", "texts"), [("a", ["a"]), (["a", "b"], ["a", "b"]), ([], [])])
def test_texts_are_read(given: object, texts: list[str]) -> None:
    request = read(input=given)

    assert [message.text for message in request.messages] == texts
    assert (request.surface, request.model, request.may_harvest) == (
        "embeddings",
        "text-embedding-3-small",
        False,
    )
    assert request.unsupported_reason == ""


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"input": [1, 2]}, "input is no text"),
        ({"input": [[1], [2]]}, "input is no text"),
        ({"input": [{"image": "x"}]}, "input is no text"),
        ({"input": None}, "input is no text"),
        ({"input": "x" * 300_000}, "large body"),
        ({"input_type": "query"}, "unknown field"),
    ],
)
def test_an_input_that_only_the_teacher_takes_is_the_reason(fields: dict[str, object], reason: str) -> None:
    assert read(**fields).unsupported_reason == reason
    with pytest.raises(RequestError, match=reason) as refused:
        read(model="stepdown/minilm", **fields)
    assert refused.value.status == 400


def test_a_field_that_an_encoder_may_ignore_is_no_reason() -> None:
    assert read(user="u", dimensions=384, encoding_format="base64", extra=None).unsupported_reason == ""


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"model":"a","model":"b","input":"x"}', b'{"model":1}'])
def test_a_malformed_body_is_refused(content: bytes) -> None:
    with pytest.raises(RequestError):
        read_content(content)


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"input": ""}, "input", "empty_string"),
        ({"input": ["a", ""]}, "input", "empty_string"),
        ({"input": []}, "input", "empty_array"),
        ({"input": ["a"] * 2049}, "input", "array_above_max_length"),
        ({"encoding_format": "hex"}, "encoding_format", "invalid_type"),
        ({"dimensions": "many"}, "dimensions", "invalid_type"),
    ],
)
def test_an_input_that_openai_refuses_is_refused(fields: dict[str, object], param: str, code: str) -> None:
    with pytest.raises(RequestError) as refused:
        read_encoder_request(read(**fields))

    assert (refused.value.status, refused.value.param, refused.value.code) == (400, param, code)


def test_the_rendered_answer_is_openais() -> None:
    vectors = [array("f", [0.1, -0.25]), array("f", [1e-9, 3.0])]
    plain = render_list(
        [render_vector(i, v.tobytes(), is_base64=False) for i, v in enumerate(vectors)], "m", 7
    )
    packed = render_list(
        [render_vector(i, v.tobytes(), is_base64=True) for i, v in enumerate(vectors)], "m", 7
    )

    answer = CreateEmbeddingResponse.model_validate_json(plain)
    assert [array("f", item.embedding) for item in answer.data] == vectors
    assert [item.index for item in answer.data] == [0, 1]
    assert (answer.model, answer.usage.prompt_tokens, answer.usage.total_tokens) == ("m", 7, 7)
    assert list(json.loads(plain)) == ["object", "data", "model", "usage"]
    data = json.loads(packed)["data"]
    assert [base64.b64decode(item["embedding"]) for item in data] == [v.tobytes() for v in vectors]


def test_the_usage_of_an_answer_is_read() -> None:
    answer = render_list([render_vector(0, array("f", [1.0]).tobytes(), is_base64=True)], "m", 7)

    reading = read_outcome(outcome(read(), answer=answer))

    assert reading.usage is not None
    assert (reading.usage.prompt_tokens, reading.usage.completion_tokens) == (7, 0)
    assert reading.text is None
