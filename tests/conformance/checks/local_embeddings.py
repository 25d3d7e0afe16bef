"""Embeddings of a local encoder have the shape of the teacher's."""

from __future__ import annotations

import base64
from array import array
from typing import Any

from openai.types import CreateEmbeddingResponse

from tests.conformance.answers import to_json
from tests.conformance.checks.errors import assert_error
from tests.conformance.harness import Harness, WireAnswer
from tests.conformance.shape import assert_shape
from tests.conformance.table import check

API = "API: Embeddings"


def ask(harness: Harness, value: object, **fields: object) -> WireAnswer:
    """Ask the local encoder; the teacher must not be asked."""
    body = to_json({"model": harness.encoder, "input": value, **fields})
    got = harness.ask("POST", "/embeddings", body)
    assert not harness.teacher.seen, "the teacher was asked"
    return got


def embedded(harness: Harness, value: object, **fields: object) -> dict[str, Any]:
    """Return the answer to a valid request."""
    got = ask(harness, value, **fields)
    assert got.status == 200, got.body.decode()
    answer: dict[str, Any] = got.json
    return answer


@check(
    961, "a local embedding has every field of OpenAI's and no other", source=f"{API}, the embedding object"
)
def shape(harness: Harness) -> None:
    made = embedded(harness, "Hi", encoding_format="float")
    item = {"object": "embedding", "index": 0, "embedding": list}
    usage = {"prompt_tokens": int, "total_tokens": int}
    assert_shape(made, {"object": "list", "data": [item], "model": str, "usage": usage})
    assert all(isinstance(number, float) for number in made["data"][0]["embedding"])
    CreateEmbeddingResponse.model_validate(made, strict=True)


@check(962, "a local embedding in base64 is that in floats, little-endian", source=f"{API}, encoding_format")
def packed(harness: Harness) -> None:
    floats = embedded(harness, "Hi", encoding_format="float")["data"][0]["embedding"]
    text = embedded(harness, "Hi", encoding_format="base64")["data"][0]["embedding"]
    assert array("f", base64.b64decode(text)).tolist() == array("f", floats).tolist()


@check(963, "local embeddings of several texts keep their order", source=f"{API}, input")
def order(harness: Harness) -> None:
    several = embedded(harness, ["one", "two words", "three"], encoding_format="float")["data"]
    assert [item["index"] for item in several] == [0, 1, 2]
    alone = embedded(harness, "two words", encoding_format="float")["data"][0]["embedding"]
    difference = max(abs(a - b) for a, b in zip(several[1]["embedding"], alone, strict=True))
    assert difference < 1e-5, f"the second is {difference} away from the same text alone"


def refused(number: int, what: str, param: str, value: object, **fields: object) -> None:
    """Enter a check that a request is refused locally as OpenAI refuses it."""

    @check(number, f"{what} is refused with a 400 that names {param}", source=f"{API}; Error codes, 400")
    def body(harness: Harness) -> None:
        got = ask(harness, value, **fields)
        assert got.status == 400, got.status
        assert_error(got)
        assert got.json["error"]["param"] == param


refused(964, "an empty text to be embedded locally", "input", "")
refused(965, "an empty list to be embedded locally", "input", [])
refused(966, "a wrong number of local dimensions", "dimensions", "Hi", dimensions=7)
refused(967, "a list of tokens for a local encoder", "input", [1, 2, 3])
