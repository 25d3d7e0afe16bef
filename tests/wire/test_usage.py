"""Usage of every dialect of OpenAI's API is read field by field, and a wrong field loses only itself."""

from __future__ import annotations

import random

import pytest

from gateway.core import Usage
from gateway.wire.usage import count_tool_calls, read_usage


@pytest.mark.parametrize(
    ("reported", "usage"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}, Usage(9, 2)),
        (
            {"input_tokens": 9, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 4}},
            Usage(9, 2, 4),
        ),
        ({"prompt_tokens": 9, "total_tokens": 9}, Usage(9, 0)),
        ({"prompt_tokens": 9, "completion_tokens": 2, "prompt_cache_hit_tokens": 4}, Usage(9, 2, 4)),
        ({"prompt_tokens": 9, "completion_tokens": 2, "cached_tokens": 4}, Usage(9, 2, 4)),
        (
            {
                "input_tokens": 5,
                "output_tokens": 2,
                "cache_read_input_tokens": 4,
                "cache_creation_input_tokens": 1,
            },
            Usage(10, 2, 4, cache_write_tokens=1),
        ),
        ({"type": "duration", "seconds": 90}, Usage(0, 0, audio_seconds=90.0)),
        (
            {
                "input_tokens": 9,
                "input_token_details": {"text_tokens": 2, "audio_tokens": 7},
                "output_tokens": 1,
            },
            Usage(9, 1, audio_input_tokens=7),
        ),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 8,
                "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 2},
            },
            Usage(9, 8, reasoning_tokens=5, audio_output_tokens=2),
        ),
        (
            {
                "input_tokens": 9,
                "output_tokens": 8,
                "output_tokens_details": {"image_tokens": 8, "text_tokens": 0},
            },
            Usage(9, 8, image_output_tokens=8),
        ),
    ],
)
def test_every_dialect_says_the_same(reported: object, usage: Usage) -> None:
    """OpenAI's APIs, DeepSeek, Moonshot, Anthropic, recordings by the second, audio, images."""
    assert read_usage(reported) == usage


def test_a_missing_number_is_said_to_be_missing() -> None:
    assert read_usage({"prompt_tokens": 9}) == Usage(9, 0, is_estimated=True)
    assert read_usage({"completion_tokens": 9, "prompt_tokens": "many"}) == Usage(0, 9, is_estimated=True)


def test_what_the_total_has_beyond_prompt_and_completion_was_written() -> None:
    """xAI leaves its reasoning out of completion_tokens."""
    reported = {"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 135}

    assert read_usage(reported) == Usage(32, 103)


def test_without_the_prompt_the_total_says_nothing_about_the_completion() -> None:
    assert read_usage({"prompt_tokens": None, "completion_tokens": 2000, "total_tokens": 3000}) == Usage(
        1000, 2000
    )


@pytest.mark.parametrize("odd", [None, "nine", "-4", -4, 0.5, True, [], {}, 10**20, "9" * 5000, float("inf")])
@pytest.mark.parametrize(
    "field", ["prompt_tokens_details", "total_tokens", "completion_tokens_details", "cached_tokens"]
)
def test_an_odd_field_loses_only_itself(field: str, odd: object) -> None:
    assert read_usage({"prompt_tokens": 9, "completion_tokens": 2, field: odd}) == Usage(9, 2)


@pytest.mark.parametrize("number", [9, 9.0, "9", "9.0"])
def test_numbers_may_be_written_as_floats_or_strings(number: object) -> None:
    assert read_usage({"prompt_tokens": number, "completion_tokens": number}) == Usage(9, 9)


@pytest.mark.parametrize("none", [None, [], "many", {}, {"prompt_tokens": None}, {"type": "object"}])
def test_what_has_no_number_is_no_usage(none: object) -> None:
    assert read_usage(none) is None


def test_any_value_is_survived() -> None:
    """5,000 usages with values of any kind under every known name."""
    dice = random.Random(3)
    names = ["prompt_tokens", "input_tokens", "total_tokens", "output_tokens", "cached_tokens", "seconds"]
    names += ["prompt_tokens_details", "input_tokens_details", "cache_read_input_tokens", "audio_tokens"]
    values = [
        0,
        7,
        -1,
        2.0,
        "5",
        "x",
        None,
        True,
        [],
        [{}],
        {"cached_tokens": 3},
        {"cached_tokens": "x"},
        10**30,
    ]
    for _ in range(5000):
        usage = read_usage({name: dice.choice(values) for name in dice.sample(names, 4)})
        assert usage is None or min(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) >= 0


def test_tool_calls_with_a_fee_are_counted() -> None:
    """A page that is opened is no search; two calls in one container are one session."""
    items = [
        {"type": "web_search_call", "action": {"type": "search"}},
        {"type": "web_search_call", "action": {"type": "open_page"}},
        {"type": "web_search_call"},
        {"type": "file_search_call"},
        {"type": "code_interpreter_call", "container_id": "c1"},
        {"type": "code_interpreter_call", "container_id": "c1"},
        {"type": "message"},
        "odd",
    ]

    assert count_tool_calls(items) == {"web_searches": 2, "file_searches": 1, "containers": 1}
