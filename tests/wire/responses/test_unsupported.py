"""A request that a specialist cannot honor goes to the teacher, with a countable reason."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from gateway.errors import UnreadableBodyError
from tests.wire.responses.requests import FIND, responses_request

USER = {"role": "user", "content": "hello"}
CALL = {"type": "function_call", "call_id": "c1", "name": "find", "arguments": "{}"}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"store": False, "background": False, "conversation": None, "previous_response_id": None},
        {"temperature": 0, "top_p": 1, "top_logprobs": 0, "truncation": "disabled", "user": "u"},
        {"metadata": {"a": "b"}, "safety_identifier": "s", "prompt_cache_key": "k", "service_tier": "flex"},
        {"include": [], "max_tool_calls": 3, "max_output_tokens": 16, "stream_options": {}},
        {"include": ["reasoning.encrypted_content"], "reasoning": {"effort": "low", "summary": None}},
        {"tools": [], "tool_choice": "auto", "parallel_tool_calls": False},
        {"tools": [FIND], "tool_choice": "required"},
        {"tools": [FIND | {"defer_loading": False, "output_schema": None}], "tool_choice": "none"},
    ],
)
def test_a_request_that_a_specialist_can_honor_has_no_reason(fields: dict[str, Any]) -> None:
    assert responses_request(**fields).unsupported_reason == ""


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"background": True}, "background"),
        ({"store": True}, "store"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
        ({"include": ["web_search_call.results"]}, "include"),
        ({"top_logprobs": 3}, "logprobs"),
        ({"truncation": "auto"}, "truncation"),
        ({"reasoning": {"summary": "auto"}}, "reasoning"),
        ({"max_output_tokens": 15}, "max_output_tokens"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"moderation": {"model": "m"}}, "moderation"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"tools": [FIND, {"type": "mcp", "server_label": "s"}]}, "tools"),
        ({"tools": [{"type": "custom", "name": "c"}]}, "tools"),
        ({"tools": [FIND | {"defer_loading": True}]}, "tools"),
        (
            {"tools": [FIND], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}},
            "tool_choice",
        ),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [FIND], "tool_choice": "surprise"}, "tool_choice"),
        ({"text": {"format": {"type": "grammar"}}}, "text"),
        ({"text": {"format": "json"}}, "text"),
        ({"text": {"colour": "red"}}, "text"),
        ({"x-mine": 1}, "unknown field"),
        ({"model": None}, "no model"),
        ({"input": None}, "no user text"),
        ({"input": ""}, "no user text"),
        ({"input": []}, "no user text"),
    ],
)
def test_a_field_beyond_a_specialist_is_the_reason(fields: dict[str, Any], reason: str) -> None:
    assert responses_request(**fields).unsupported_reason == reason


def test_of_several_such_fields_the_first_by_name_is_the_reason() -> None:
    """Whatever the hash seed of the process: workers and restarts count one request alike."""
    known = ("context_management", "conversation", "image", "moderation", "previous_response_id", "prompt")

    for one, other in combinations(known, 2):
        assert responses_request(**{other: "x", one: "x"}).unsupported_reason == one
    assert responses_request(conversation="c", another=1).unsupported_reason == "unknown field"


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (CALL, "tool messages"),
        (
            {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text"}]},
            "tool messages",
        ),
        ({"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"x": 1}]}, "reasoning item"),
        ({"type": "item_reference", "id": "msg_1"}, "item reference"),
        ({"id": "msg_1"}, "unknown item"),
        ({"type": "web_search_call", "id": "ws_1", "status": "completed"}, "unknown item"),
        ({"role": "critic", "content": "no"}, "unknown role"),
        ({"role": "user", "content": 3}, "unknown part"),
        ({"role": "user", "content": [{"type": "input_image", "image_url": "data:"}]}, "image part"),
        ({"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}, "file part"),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, "audio part"),
        ({"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, "unknown part"),
    ],
)
def test_an_input_that_is_no_text_is_the_reason(item: dict[str, Any], reason: str) -> None:
    assert responses_request(input=[USER, item]).unsupported_reason == reason


def test_an_integer_written_as_a_float_is_the_teachers_to_judge() -> None:
    request = responses_request(max_output_tokens=256.0)

    assert (request.max_tokens, request.unsupported_reason) == (256, "integral float")
    assert responses_request(model="stepdown/cards", max_output_tokens=256.0).unsupported_reason == ""


@pytest.mark.parametrize("field", ["max_output_tokens", "top_logprobs"])
def test_a_fraction_is_no_integer(field: str) -> None:
    with pytest.raises(UnreadableBodyError) as caught:
        responses_request(**{field: 20.5})

    assert (caught.value.status, caught.value.param, caught.value.code) == (400, field, "invalid_type")
