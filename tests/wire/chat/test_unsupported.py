"""A request that a specialist cannot honor goes to the teacher, with a countable reason."""

from __future__ import annotations

from itertools import combinations

import pytest

from gateway.errors import UnreadableBodyError
from tests.wire.chat.requests import HELLO, chat_request

HARMLESS: dict[str, object] = {
    "stream": True,
    "stream_options": {"include_usage": True, "include_obfuscation": False},
    "temperature": 0,
    "top_p": 1,
    "max_tokens": 10,
    "n": 1,
    "stop": ["\n"],
    "seed": 7,
    "user": "u",
    "metadata": {"a": "b"},
    "presence_penalty": 0.5,
    "frequency_penalty": -0.5,
    "response_format": {"type": "text"},
    "reasoning_effort": "low",
    "verbosity": "low",
    "service_tier": "flex",
    "store": False,
    "safety_identifier": "s",
    "prompt_cache_key": "k",
    "parallel_tool_calls": None,
    "tools": [],
    "tool_choice": None,
    "logprobs": False,
    "top_logprobs": None,
    "modalities": ["text"],
    "new_field": None,
}


def test_a_specialist_may_answer_with_tools_and_logprobs() -> None:
    """The check of its draft decides whether it does."""
    tools = [{"type": "function", "function": {"name": "f"}}]
    fields = {"tools": tools, "tool_choice": "auto", "parallel_tool_calls": False}

    request = chat_request(logprobs=True, top_logprobs=3, **fields)

    assert request.unsupported_reason == ""
    assert (request.top_logprobs, request.may_call_in_parallel, request.tool_choice) == (3, False, b'"auto"')
    assert b'"name": "f"' in request.tools


def test_harmless_fields_are_harmless_together() -> None:
    assert chat_request(**HARMLESS).unsupported_reason == ""


@pytest.mark.parametrize("name", HARMLESS)
def test_each_harmless_field_is_harmless(name: str) -> None:
    assert chat_request(**{name: HARMLESS[name]}).unsupported_reason == ""


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"n": 2}, "n > 1"),
        ({"n": 0}, "n > 1"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"tools": [{"type": "function"}, {"type": "custom", "custom": {"name": "sql"}}]}, "tools"),
        ({"top_logprobs": 0}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "logprobs"),
        ({"store": True}, "store"),
        ({"audio": {"voice": "alloy"}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
        ({"logit_bias": {"1": 5}}, "logit_bias"),
        ({"tool_choice": "none"}, "tool_choice"),
        ({"parallel_tool_calls": False}, "parallel_tool_calls"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"invented\r\nfield": 1}, "unknown field"),
    ],
)
def test_a_field_beyond_a_specialist_is_the_reason(fields: dict[str, object], reason: str) -> None:
    assert chat_request(**fields).unsupported_reason == reason


def test_of_several_such_fields_the_first_by_name_is_the_reason() -> None:
    """Whatever the hash seed of the process: workers and restarts count one request alike."""
    known = ("audio", "function_call", "logit_bias", "moderation", "prediction", "web_search_options")

    for one, other in combinations(known, 2):
        assert chat_request(**{other: 1, one: 1}).unsupported_reason == one
    assert chat_request(logit_bias={"1": 5}, prediction={}, invented=1).unsupported_reason == "unknown field"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"role": "tool", "content": "42", "tool_call_id": "c"}, "tool messages"),
        ({"role": "function", "name": "f", "content": "42"}, "tool messages"),
        ({"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]}, "tool messages"),
        ({"role": "assistant", "content": None, "function_call": {"name": "f"}}, "tool messages"),
        ({"role": "narrator", "content": "x"}, "unknown role"),
        ({"role": "user", "content": "x", "name": "bob"}, "named message"),
        ({"role": "assistant", "audio": {"id": "a"}}, "audio"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}, "image part"),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, "audio part"),
        ({"role": "user", "content": [{"type": "file", "file": {}}]}, "file part"),
        ({"role": "user", "content": [{"type": "hologram"}]}, "unknown part"),
        ({"role": "user", "content": [{"text": "x"}]}, "unknown part"),
        ({"role": "user", "content": [{"type": "text"}]}, "unknown part"),
    ],
)
def test_a_message_beyond_a_specialist_is_the_reason(message: dict[str, object], reason: str) -> None:
    assert chat_request(HELLO, message).unsupported_reason == reason


@pytest.mark.parametrize("content", ["", None, []])
def test_a_conversation_without_user_text_is_the_teachers(content: object) -> None:
    request = chat_request({"role": "system", "content": "s"}, {"role": "user", "content": content})

    assert request.unsupported_reason == "no user text"


def test_an_answer_that_a_client_sends_back_is_harmless() -> None:
    """SDKs echo a whole assistant message, empty fields included."""
    echoed: dict[str, object] = {"role": "assistant", "content": "yes?", "refusal": None, "annotations": []}
    nothing: dict[str, object] = {"tool_calls": None, "function_call": None, "audio": None}

    assert chat_request(HELLO, {**echoed, **nothing}, HELLO).unsupported_reason == ""


@pytest.mark.parametrize("field", ["n", "max_tokens", "max_completion_tokens", "seed"])
def test_an_integer_written_as_a_float_is_the_teachers_to_judge(field: str) -> None:
    assert chat_request(**{field: 1.0}).unsupported_reason == "integral float"


def test_an_integer_written_as_a_float_is_read_as_what_it_is() -> None:
    request = chat_request(max_tokens=256.0, seed=5.0, logprobs=True, top_logprobs=2.0)

    numbers = (request.max_tokens, request.seed, request.top_logprobs)
    assert numbers == (256, 5, 2)
    assert set(map(type, numbers)) == {int}


def test_a_model_of_ours_takes_an_integer_written_as_a_float() -> None:
    assert chat_request(model="stepdown/cards", max_tokens=256.0).unsupported_reason == ""


@pytest.mark.parametrize("field", ["n", "max_tokens", "max_completion_tokens", "seed", "top_logprobs"])
def test_a_fraction_is_no_integer(field: str) -> None:
    with pytest.raises(UnreadableBodyError) as caught:
        chat_request(**{field: 1.5})

    assert (caught.value.status, caught.value.param, caught.value.code) == (400, field, "invalid_type")
