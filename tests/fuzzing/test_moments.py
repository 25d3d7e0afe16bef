"""Any text after `--since`, and any span of a setting, is a time or refused in one line."""

from __future__ import annotations

import math
import time

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.config.durations import format_duration, parse_duration, parse_moment
from gateway.errors import ConfigError
from gateway.finops.periods import name_day, parse_past

NOW = 1_800_000_000.0
NUMBERS = st.integers(0, 10**7).map(str) | st.text("0123456789\u0663\uff12", max_size=6)
SPANS = st.builds(lambda number, unit: number + unit, NUMBERS, st.sampled_from(["", *"smhdwyM"]))
DAYS = st.builds(
    "{}-{:02}-{:02}{}".format,
    st.sampled_from(["0000", "0001", "1969", "2026", "2028", "9999", "\uff12\uff10\uff12\uff16", "12026"]),
    st.integers(0, 13),
    st.integers(0, 32),
    st.sampled_from(["", "T12:00", " 23:59:59", "T24:00", "T12:00Z", "+00:00", "T25:61", "\n"]),
)
TEXTS = SPANS | DAYS | st.text(max_size=12)


@given(TEXTS)
@example("99999w")
@example("0001-01-01")
def test_any_text_is_a_moment_in_the_past_that_has_a_day_or_is_refused_in_one_line(text: str) -> None:
    try:
        at = parse_past(text, NOW)
    except ConfigError as exc:
        assert str(exc).isprintable()
    else:
        assert at <= NOW
        assert name_day(at)
        assert time.gmtime(at)


@given(TEXTS)
def test_any_text_is_a_moment_from_now_or_refused_in_one_line(text: str) -> None:
    try:
        assert math.isfinite(parse_moment(text, NOW))
    except ConfigError as exc:
        assert str(exc).isprintable()


@given(st.integers(0, 999_999), st.sampled_from("smhdw"))
def test_every_span_is_read_as_it_is_written(number: int, unit: str) -> None:
    assert parse_duration(f"{number}{unit}") == number * parse_duration(f"1{unit}")


@given(st.floats(0, 1e9))
def test_every_span_of_seconds_can_be_written(seconds: float) -> None:
    assert format_duration(seconds)[-1] == "s"
