"""The Responses API: the teacher's answers pass unchanged, and never look complete when cut."""

from __future__ import annotations

from tests.conformance.answers import reply, to_json
from tests.conformance.checks.errors import envelope, refused
from tests.conformance.harness import Harness, assert_identical, assert_same_json
from tests.conformance.table import check

PATH = "/responses"
API = "API: Responses"
RESPONSE = {
    "id": "resp_1", "object": "response", "created_at": 1_700_000_000, "status": "completed", "error": None,
    "incomplete_details": None, "instructions": None, "model": "gpt-4o-2024-08-06",
    "output": [{"type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
                "content": [{"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}]}],
    "parallel_tool_calls": True, "previous_response_id": None, "store": True, "temperature": 0.5,
    "top_p": 0.5,
    "usage": {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 2,
              "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 11},
    "x_new": None,
}  # fmt: skip


def response_request(**fields: object) -> bytes:
    """Return the body of a request."""
    return to_json({"model": "gpt-4o", "input": "Hi", **fields})


def passes(number: int, what: str, section: str, *, answer: object = RESPONSE, **fields: object) -> None:
    """Enter a check that a request and its answer pass: fields, order, names and numbers."""

    @check(number, f"{what} passes both ways", source=f"{API}, {section}")
    def body(harness: Harness) -> None:
        harness.teacher.play([reply(200, to_json(answer))])
        got = harness.ask("POST", PATH, response_request(**fields))
        assert got.status == 200, got.body[:200]
        assert_same_json(harness.teacher.last.body, response_request(**fields))
        assert_same_json(got.body, to_json(answer))


passes(801, "a plain response", "create")
passes(802, "previous_response_id", "create, previous_response_id", previous_response_id="resp_0")
passes(803, "a conversation", "create, conversation", conversation="conv_1")
passes(
    804,
    "a background response",
    "create, background",
    background=True,
    answer={**RESPONSE, "status": "queued", "output": []},
)
passes(
    805,
    "a built-in tool",
    "create, tools",
    tools=[{"type": "web_search"}],
    answer={**RESPONSE, "output": [{"type": "web_search_call", "id": "ws_1", "status": "completed"}]},
)
passes(
    806,
    "reasoning with encrypted content",
    "create, include",
    model="o4-mini",
    store=False,
    include=["reasoning.encrypted_content"],
    reasoning={"effort": "low", "summary": "auto"},
    answer={
        **RESPONSE,
        "output": [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}],
    },
)
passes(
    807,
    "an image and a file as input",
    "create, input",
    input=[
        {
            "role": "user",
            "content": [
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"},
                {"type": "input_file", "file_id": "file-1"},
            ],
        }
    ],
)
passes(
    808,
    "a prompt template",
    "create, prompt",
    prompt={"id": "pmpt_1", "version": "2", "variables": {"a": "b"}},
)
passes(
    809,
    "a function call and its output",
    "create, function_call_output",
    input=[
        {"type": "function_call", "call_id": "call_1", "name": "find", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "7"},
    ],
)
passes(810, "unknown fields", "create; openai-python extra_body", x_new={"a": ["b"]})
passes(
    811,
    "truncation, metadata and a service tier",
    "create",
    truncation="auto",
    metadata={"a": "b"},
    service_tier="flex",
    max_tool_calls=3,
)
passes(
    812,
    "a custom tool with a grammar",
    "create, custom tool",
    tools=[
        {
            "type": "custom",
            "name": "sql",
            "format": {"type": "grammar", "syntax": "lark", "definition": "start: A"},
        }
    ],
)


def other(number: int, what: str, section: str, call: str, body: object = None) -> None:
    """Enter a check that a path below responses passes both ways."""
    method, path = call.split(" ")
    sent = None if body is None else to_json(body)

    @check(number, f"{what} passes both ways", source=f"{API}, {section}")
    def demand(harness: Harness) -> None:
        harness.teacher.play([reply(200, to_json(RESPONSE))])
        got = harness.ask(method, path, sent)
        assert_same_json(got.body, to_json(RESPONSE))
        assert (harness.teacher.last.method, harness.teacher.last.target) == (method, f"/v1{path}")
        assert_identical(harness.teacher.last.body, sent or b"")


other(
    821, "the retrieval of a response", "get", "GET /responses/resp_1?include[]=reasoning.encrypted_content"
)
other(822, "the deletion of a response", "delete", "DELETE /responses/resp_1")
other(823, "the cancelling of a response", "cancel", "POST /responses/resp_1/cancel")
other(
    824,
    "the input items of a response",
    "list input items",
    "GET /responses/resp_1/input_items?limit=2&order=asc",
)
other(
    825,
    "the counting of input tokens",
    "input tokens",
    "POST /responses/input_tokens",
    {"model": "gpt-4o", "input": "Hi"},
)
other(826, "a compaction", "compact", "POST /responses/compact", {"model": "gpt-4o", "input": "Hi"})


def refusal(number: int, status: int) -> None:
    """Enter a check that an error of the teacher arrives unchanged."""

    @check(number, f"{status} arrives with its body", source="API: Error codes")
    def body(harness: Harness) -> None:
        harness.teacher.repeat(refused(status, envelope()))
        got = harness.ask("POST", PATH, response_request())
        assert got.status == status
        assert_same_json(got.body, envelope())


for _number, _status in enumerate((400, 404, 429, 500), 851):
    refusal(_number, _status)


@check(855, "JSON that ends too early is refused with 400", source="API: Error codes, 400")
def malformed(harness: Harness) -> None:
    harness.teacher.repeat(refused(400, envelope()))
    assert harness.ask("POST", PATH, b'{"model":"gpt-4o","input":').status == 400
