"""What a specialist cannot do in the request's own terms is the teacher's, with a countable reason."""

from __future__ import annotations

from itertools import combinations

import pytest

from tests.wire.ask import HELLO, ask

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


def test_tools_and_logprobs_are_what_a_specialist_may_know_of() -> None:
    """Whether it does is judged by its draft."""
    tools = [{"type": "function", "function": {"name": "f"}}]
    asked = ask(tools=tools, tool_choice="auto", parallel_tool_calls=False, logprobs=True, top_logprobs=3)

    assert asked.unsupported_reason == ""
    assert (asked.top_logprobs, asked.may_call_in_parallel, asked.tool_choice) == (3, False, b'"auto"')
    assert b'"name": "f"' in asked.tools


def test_harmless_fields_are_harmless_together() -> None:
    assert ask(**HARMLESS).unsupported_reason == ""


@pytest.mark.parametrize("name", HARMLESS)
def test_each_harmless_field_is_harmless(name: str) -> None:
    assert ask(**{name: HARMLESS[name]}).unsupported_reason == ""


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
    assert ask(**fields).unsupported_reason == reason


def test_of_several_such_fields_the_first_by_name_is_the_reason() -> None:
    """Whatever the hash seed of the process: workers and restarts count one request alike."""
    known = ("audio", "function_call", "logit_bias", "moderation", "prediction", "web_search_options")

    for one, other in combinations(known, 2):
        assert ask(**{other: 1, one: 1}).unsupported_reason == one
    assert ask(logit_bias={"1": 5}, prediction={}, invented=1).unsupported_reason == "unknown field"


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
    assert ask(HELLO, message).unsupported_reason == reason


@pytest.mark.parametrize("content", ["", None, []])
def test_nothing_to_answer_is_the_teachers(content: object) -> None:
    request = ask({"role": "system", "content": "s"}, {"role": "user", "content": content})

    assert request.unsupported_reason == "no user text"


def test_what_clients_send_back_of_an_answer_is_harmless() -> None:
    """SDKs echo a whole assistant message, empty fields included."""
    echoed: dict[str, object] = {"role": "assistant", "content": "yes?", "refusal": None, "annotations": []}
    nothing: dict[str, object] = {"tool_calls": None, "function_call": None, "audio": None}

    assert ask(HELLO, {**echoed, **nothing}, HELLO).unsupported_reason == ""
