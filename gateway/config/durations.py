"""Spans of time and moments, as people write them: `90d`, `24h`, `2027-01-31`."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from gateway.errors import ConfigError

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}


def parse_duration(text: str) -> float:
    """Return the seconds of a span such as `30s`, `15m`, `24h`, `90d` or `2w`. Raises ConfigError."""
    found = re.fullmatch(r"(\d{1,6})([smhdw])", text.strip())
    if not found:
        raise ConfigError(f"'{text}' is no span of time; write a number and s, m, h, d or w, such as 24h")
    return int(found[1]) * _UNITS_S[found[2]]


def parse_moment(text: str, now: float) -> float:
    """Return the unix time of a span from `now`, or of the beginning of a UTC day. Raises ConfigError."""
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text.strip()):
        try:
            return datetime.fromisoformat(text.strip()).replace(tzinfo=UTC).timestamp()
        except ValueError as exc:
            raise ConfigError(f"'{text}' is no day: {exc}") from exc
    try:
        return now + parse_duration(text)
    except ConfigError as exc:
        raise ConfigError(f"'{text}' is neither a span such as 90d nor a day such as 2027-01-31") from exc


def format_duration(seconds: float) -> str:
    """Return a span as OpenAI's rate limit headers write it: `12ms`, `1.5s`, `6m0s`, `1h0m30s`."""
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))}ms"
    if seconds < 60:
        return f"{round(seconds, 3):g}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"
