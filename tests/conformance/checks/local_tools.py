"""A local tool call has the shape of the teacher's."""

from __future__ import annotations

import json
from typing import Any

from tests.conformance.checks.fields import TOOL
from tests.conformance.checks.local import CHOICE, CHUNK, COMPLETION, MESSAGE
from tests.conformance.checks.local_streams import chunks, part
from tests.conformance.harness import Harness
from tests.conformance.shape import assert_shape
from tests.conformance.table import check

CALL: dict[str, Any] = {"id": str, "type": "function", "function": {"name": "find", "arguments": str}}


@check(910, "a local tool call has OpenAI's shape", source="API: Chat, message, tool_calls")
def tool_call(harness: Harness) -> None:
    got = harness.ask_locally("call", tools=[TOOL]).json
    message = {**MESSAGE, "content": None, "tool_calls": [CALL]}
    assert_shape(
        got, {**COMPLETION, "choices": [{**CHOICE, "message": message, "finish_reason": "tool_calls"}]}
    )
    (call,) = got["choices"][0]["message"]["tool_calls"]
    assert call["id"].startswith("call_")
    assert json.loads(call["function"]["arguments"]) == {"city": "K\u00f6ln"}


@check(
    911,
    "a local tool call is streamed by index: id and name first, then arguments",
    source=f"{CHUNK}, tool_calls.index",
)
def streamed_tool_call(harness: Harness) -> None:
    first, named, *arguments, last = chunks(harness.ask_locally("call", stream=True, tools=[TOOL]))
    assert_shape(first, part({"role": "assistant", "content": None, "refusal": None}))
    assert_shape(
        named, part({"tool_calls": [{"index": 0, **CALL, "function": {"name": "find", "arguments": ""}}]})
    )
    for one in arguments:
        assert_shape(one, part({"tool_calls": [{"index": 0, "function": {"arguments": str}}]}))
    assert_shape(last, part({}, "tool_calls"))


@check(
    912,
    "parallel local tool calls have ids and indices of their own",
    source="API: Function calling, parallel",
)
def parallel(harness: Harness) -> None:
    got = harness.ask_locally("calls", tools=[TOOL]).json["choices"][0]["message"]["tool_calls"]
    assert len({call["id"] for call in got}) == 2
    streamed = chunks(harness.ask_locally("calls", stream=True, tools=[TOOL]))[1:-1]
    indices = [one["choices"][0]["delta"]["tool_calls"][0]["index"] for one in streamed]
    assert indices == sorted(indices)
    assert set(indices) == {0, 1}


@check(
    913,
    "a local call of a tool chosen by name ends with stop",
    source="OpenAI's answers, measured in vllm-project/vllm#25054",
)
def named_tool(harness: Harness) -> None:
    choice = {"type": "function", "function": {"name": "find"}}
    got = harness.ask_locally("call", tools=[TOOL], tool_choice=choice).json
    assert got["choices"][0]["finish_reason"] == "stop"
