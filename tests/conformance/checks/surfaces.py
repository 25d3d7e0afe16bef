"""All of the API beside chat completions passes both ways."""

from __future__ import annotations

from tests.conformance.answers import reply, stream, to_json
from tests.conformance.harness import Harness, assert_identical, assert_same_content
from tests.conformance.table import check


def passes(
    number: int,
    what: str,
    section: str,
    call: str,
    body: object = None,
    *,
    kind: str = "application/json",
    answer: object = None,
    answer_kind: str = "application/json",
) -> None:
    """Enter a check that a call and its answer pass; `call` is method and path, see `assert_same_content`."""
    method, path = call.split(" ")
    sent = body if isinstance(body, bytes) or body is None else to_json(body)
    reply_body = answer if isinstance(answer, bytes) else to_json(answer or {"id": "x", "x_new": ["y", None]})

    @check(number, f"{what} passes both ways", source=f"API: {section}")
    def demand(harness: Harness) -> None:
        harness.teacher.play([reply(200, reply_body, kind=answer_kind)])
        got = harness.ask(method, path, sent, {"content-type": kind} if sent is not None else {})
        assert (got.status, got.value("content-type")) == (200, answer_kind)
        assert_same_content(got.body, answer_kind, reply_body, answer_kind)
        seen = harness.teacher.last
        assert (seen.method, seen.target) == (method, f"/v1{path}")
        seen_kind = seen.value("content-type") or ""
        assert_same_content(seen.body, seen_kind, sent or b"", kind)
        assert sent is None or seen_kind.split(";")[0] == kind.split(";", maxsplit=1)[0]


VECTOR = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.1, -1e-7, 1.0]}],
    "model": "text-embedding-3-small",
    "usage": {"prompt_tokens": 1, "total_tokens": 1},
}
EMBED = {"model": "text-embedding-3-small", "input": "a"}
passes(
    601,
    "a legacy completion",
    "Completions (legacy)",
    "POST /completions",
    {
        "model": "gpt-3.5-turbo-instruct",
        "prompt": "Say",
        "echo": True,
        "best_of": 2,
        "suffix": "!",
        "logprobs": 1,
    },
    answer={
        "object": "text_completion",
        "choices": [{"text": "x", "index": 0, "logprobs": None, "finish_reason": "length"}],
    },
)
passes(
    602,
    "an embedding in floats",
    "Embeddings, encoding_format",
    "POST /embeddings",
    {**EMBED, "encoding_format": "float"},
    answer=VECTOR,
)
passes(
    603,
    "an embedding in base64",
    "Embeddings, encoding_format",
    "POST /embeddings",
    {**EMBED, "encoding_format": "base64"},
    answer={**VECTOR, "data": [{"object": "embedding", "index": 0, "embedding": "zczMPQ=="}]},
)
passes(
    604,
    "an embedding of fewer dimensions",
    "Embeddings, dimensions",
    "POST /embeddings",
    {**EMBED, "dimensions": 256},
)
passes(
    605,
    "an embedding of tokens",
    "Embeddings, input",
    "POST /embeddings",
    {**EMBED, "input": [[1, 2, 3], [4]]},
)
passes(
    606,
    "a list of texts to embed",
    "Embeddings, input",
    "POST /embeddings",
    {**EMBED, "input": ["a", "b"], "user": "u"},
)
passes(
    607,
    "one model",
    "Models, retrieve",
    "GET /models/gpt-4o",
    answer={"id": "gpt-4o", "object": "model", "created": 1, "owned_by": "system", "x": 1},
)
passes(608, "a model of a slash in its name", "Models, retrieve", "GET /models/ft%3Agpt-4o%2Fx")
passes(609, "the deletion of a model", "Models, delete", "DELETE /models/ft:gpt-4o:x")
passes(
    610,
    "a moderation",
    "Moderations",
    "POST /moderations",
    {"model": "omni-moderation-latest", "input": [{"type": "text", "text": "x"}]},
    answer={"id": "m", "results": [{"flagged": False, "category_scores": {"hate": 1.1e-7}}]},
)


def streams(number: int, what: str, section: str, path: str, body: object, *pieces: bytes) -> None:
    """Enter a check that the events of another path pass byte for byte."""

    @check(number, f"{what} passes byte for byte", source=f"API: {section}")
    def demand(harness: Harness) -> None:
        harness.teacher.play(stream(*pieces, kind="text/event-stream"))
        got = harness.ask("POST", path, to_json(body))
        assert got.value("content-type") == "text/event-stream"
        assert_identical(got.body, b"".join(pieces))


streams(
    651,
    "a stream of a legacy completion",
    "Completions (legacy), stream",
    "/completions",
    {"model": "m", "prompt": "x", "stream": True},
    b'data: {"object":"text_completion","choices":[{"text":"a","index":0}]}\n\n',
    b"data: [DONE]\n\n",
)
streams(
    652,
    "a stream of partial images",
    "Images, partial_images",
    "/images/generations",
    {"prompt": "x", "stream": True},
    b'event: image_generation.partial_image\ndata: {"partial_image_index":0,"b64_json":"AA"}\n\n',
    b'event: image_generation.completed\ndata: {"b64_json":"AA"}\n\n',
)
streams(
    653,
    "a stream of speech",
    "Audio, stream_format sse",
    "/audio/speech",
    {"input": "x", "stream_format": "sse"},
    b'data: {"type":"speech.audio.delta","audio":"AA"}\n\n',
    b'data: {"type":"speech.audio.done"}\n\n',
)
streams(
    654,
    "the events of an assistant's run",
    "Assistants, streaming",
    "/threads/t/runs",
    {"stream": True},
    b'event: thread.run.created\ndata: {"id":"r"}\n\n',
    b"event: done\ndata: [DONE]\n\n",
)


@check(
    661,
    "the teacher's models are listed with every field",
    source="API: Models, list; openai-python SyncPage",
)
def models(harness: Harness) -> None:
    theirs = [
        {"id": "gpt-4o", "object": "model", "created": 1, "owned_by": "system", "x": 1},
        {"id": "o4-mini", "object": "model", "created": 2, "owned_by": "openai"},
    ]
    harness.teacher.play([reply(200, to_json({"object": "list", "data": theirs}))])
    got = harness.ask("GET", "/models").json
    assert got["object"] == "list"
    assert [one for one in got["data"] if one in theirs] == theirs


@check(662, "an unknown model gets the teacher's 404", source="API: Models, retrieve; Error codes")
def no_model(harness: Harness) -> None:
    body = to_json(
        {
            "error": {
                "message": "no",
                "type": "invalid_request_error",
                "param": "model",
                "code": "model_not_found",
            }
        }
    )
    harness.teacher.repeat([reply(404, body)])
    got = harness.ask("GET", "/models/nothing")
    assert got.status == 404
    assert_identical(got.body, body)
