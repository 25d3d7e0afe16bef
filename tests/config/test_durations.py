"""Spans and moments are read as people write them, and written as OpenAI does."""

from __future__ import annotations

import pytest

from gateway.config.durations import format_duration, parse_duration, parse_moment
from gateway.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("15m", 900), ("24h", 86_400), ("90d", 7_776_000), ("2w", 1_209_600)]
)
def test_a_span_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "h", "-1h", "1.5h", "1y", "99999999d"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no span of time"):
        parse_duration(text)


def test_a_moment_is_a_span_from_now_or_a_day() -> None:
    assert parse_moment("1h", now=100.0) == 3_700.0
    assert parse_moment("1970-01-03", now=100.0) == 172_800.0
    with pytest.raises(ConfigError):
        parse_moment("2027-02-30", now=100.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.012, "12ms"), (1, "1s"), (1.5, "1.5s"), (60, "1m0s"), (360, "6m0s"), (3_630, "1h0m30s")],
)
def test_spans_are_written_as_in_openais_headers(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
