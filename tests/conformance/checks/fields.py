"""Every field of a chat completion passes as it was written, both ways."""

from __future__ import annotations

from typing import Any

from tests.conformance.answers import COMPLETION, reply, to_json
from tests.conformance.harness import Harness, assert_identical, assert_same_json, chat_body
from tests.conformance.table import check

CHAT = "/chat/completions"


def passes(number: int, what: str, field: str, *, message: object = None, **fields: object) -> None:
    """Enter a check that fields of a request, and a message of the answer, arrive unchanged.

    Spaces and escapes may change; order, names, types and the spelling of numbers may not.
    """

    @check(number, f"{what} arrives as it was sent", source=f"API: Chat, create chat completion, {field}")
    def body(harness: Harness) -> None:
        sent = chat_body(**fields)
        answer = COMPLETION if message is None else completion(message)
        harness.teacher.play([reply(200, answer)])
        got = harness.ask("POST", CHAT, sent)
        assert got.status == 200, got.body[:200]
        assert_same_json(harness.teacher.last.body, sent)
        assert_same_json(got.body, answer)


def completion(message: object, **more: object) -> bytes:
    """Return a completion with this message."""
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    frame = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": "gpt-4o"}
    return to_json({**frame, "choices": [choice], **more})


TOOL = {
    "type": "function",
    "function": {
        "name": "find",
        "description": "Finds",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"city":"Bonn"}'}}
SCHEMA: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "place",
        "strict": True,
        "schema": {"type": "object", "properties": {}, "$defs": {}},
    },
}
TEXT = {"type": "text", "text": "What is this?"}


def parts(*more: object) -> list[object]:
    """Return messages with content in parts."""
    return [{"role": "user", "content": [TEXT, *more]}]


SAID = {"role": "assistant", "content": "Hi", "refusal": None}
passes(521, "n", "n", n=3)
passes(522, "logprobs and top_logprobs", "logprobs", logprobs=True, top_logprobs=2)
passes(
    523,
    "a tool and its call",
    "tools",
    tools=[TOOL],
    tool_choice="auto",
    message={**SAID, "content": None, "tool_calls": [CALL]},
)
passes(
    524,
    "parallel tool calls",
    "parallel_tool_calls",
    tools=[TOOL],
    parallel_tool_calls=True,
    message={**SAID, "content": None, "tool_calls": [CALL, {**CALL, "id": "call_2"}]},
)
passes(
    525,
    "a tool chosen by name",
    "tool_choice",
    tools=[TOOL],
    tool_choice={"type": "function", "function": {"name": "find"}},
)
passes(
    526,
    "the result of a tool",
    "messages, tool message",
    tools=[TOOL],
    messages=[
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "7"},
    ],
)
passes(
    527,
    "a custom tool",
    "tools, custom tool",
    tools=[{"type": "custom", "custom": {"name": "sql", "format": {"type": "text"}}}],
    message={
        **SAID,
        "content": None,
        "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}],
    },
)
passes(528, "json_schema", "response_format", response_format=SCHEMA)
passes(529, "json_object", "response_format", response_format={"type": "json_object"})
passes(
    530,
    "an image part",
    "messages, image part",
    messages=parts({"type": "image_url", "image_url": {"url": "https://x/a.png", "detail": "low"}}),
)
passes(
    531,
    "an audio part",
    "messages, audio part",
    messages=parts({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}),
)
passes(
    532, "a file part", "messages, file part", messages=parts({"type": "file", "file": {"file_id": "file-1"}})
)
passes(533, "stream_options without a stream", "stream_options", stream_options=None)
passes(534, "store", "store", store=True)
passes(535, "metadata", "metadata", store=True, metadata={"run": "7"})
passes(536, "prediction", "prediction", prediction={"type": "content", "content": "abc"})
passes(
    537,
    "reasoning_effort",
    "reasoning_effort",
    model="o4-mini",
    reasoning_effort="low",
    max_completion_tokens=64,
)
passes(538, "service_tier", "service_tier", service_tier="flex")
passes(
    539,
    "the developer role",
    "messages, developer message",
    messages=[{"role": "developer", "content": "Be brief"}, {"role": "user", "content": "Hi"}],
)
passes(
    540,
    "a refusal",
    "the chat completion object, refusal",
    message={**SAID, "content": None, "refusal": "No."},
)
passes(
    541,
    "audio output",
    "modalities and audio",
    modalities=["text", "audio"],
    audio={"voice": "alloy", "format": "wav"},
    message={
        **SAID,
        "content": None,
        "audio": {"id": "a", "data": "AAAA", "expires_at": 1, "transcript": "Hi"},
    },
)
passes(
    542,
    "web_search_options and annotations",
    "web_search_options",
    web_search_options={"search_context_size": "low"},
    message={
        **SAID,
        "annotations": [
            {
                "type": "url_citation",
                "url_citation": {"start_index": 0, "end_index": 2, "url": "https://x", "title": "x"},
            }
        ],
    },
)
passes(543, "logit_bias", "logit_bias", logit_bias={"50256": -100})
passes(
    544,
    "legacy functions",
    "functions",
    functions=[{"name": "find", "parameters": {}}],
    function_call="auto",
    message={**SAID, "content": None, "function_call": {"name": "find", "arguments": "{}"}},
)
passes(
    545,
    "the penalties, seed, stop and top_p",
    "frequency_penalty",
    frequency_penalty=0.5,
    presence_penalty=-0.5,
    seed=7,
    stop=["\n", "END"],
    top_p=0.9,
)
passes(
    546,
    "verbosity and cache keys",
    "verbosity",
    verbosity="low",
    prompt_cache_key="k",
    safety_identifier="s",
    prompt_cache_retention="24h",
)
passes(
    547, "a name of a speaker", "messages, name", messages=[{"role": "user", "name": "ann", "content": "Hi"}]
)
passes(
    548,
    "an assistant's turn with a refusal part",
    "messages, assistant message",
    messages=[
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "user", "content": "y"},
    ],
)
passes(549, "max_tokens", "max_tokens", max_tokens=5)


@check(550, "usage keeps every detail", source="API: the chat completion object, usage")
def usage(harness: Harness) -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 5, "audio_tokens": 0, "x": 1}, "cost": 0.10}
    answer = completion(
        SAID, usage={"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11, **details}
    )
    assert_identical(harness.chat([reply(200, answer)]).body, answer)


@check(551, "logprobs keep every digit", source="API: the chat completion object, logprobs")
def logprobs(harness: Harness) -> None:
    token = b'{"token":"Hi","logprob":-0.00012340980,"bytes":[72,105],"top_logprobs":[]}'
    answer = b'{"choices":[{"index":0,"logprobs":{"content":[%b],"refusal":null}}]}' % token
    assert_identical(harness.chat([reply(200, answer)], logprobs=True).body, answer)
