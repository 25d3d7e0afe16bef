"""Moments in the past, as people write them: 7d, 24h, 2026-11-01, 2026-11-01T12:00."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from gateway.errors import ConfigError

_UNITS_S = {"m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_DAY_S = 86_400.0


def parse_past(text: str, now: float) -> float:
    """Return the unix time of `text`: so long before `now`, or a UTC day or time. Raises ConfigError.

    Spans of days and weeks begin with a whole UTC day.
    """
    text = text.strip()
    if span := re.fullmatch(r"(\d{1,5})([mhdw])", text):
        at = now - int(span[1]) * _UNITS_S[span[2]]
        if at < 0:
            raise ConfigError(f"'{text}' is too long: it begins before 1970")
        return at if span[2] in "mh" else at - at % _DAY_S
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2})?)?(Z|\+00:00)?", text):
        raise ConfigError(
            f"'{text}' is no time: write 7d, 24h, 90m, 2w, 2026-11-01 or 2026-11-01T12:00 (UTC)"
        )
    try:
        at = (
            datetime.fromisoformat(text.removesuffix("Z").removesuffix("+00:00"))
            .replace(tzinfo=UTC)
            .timestamp()
        )
    except ValueError as exc:
        raise ConfigError(f"'{text}' is no time: {exc}") from exc
    if at > now:
        raise ConfigError(f"'{text}' is in the future")
    return at


def is_whole_day(at: float) -> bool:
    """Return whether `at` is the beginning of a UTC day."""
    return at % _DAY_S == 0


def name_day(at: float) -> str:
    """Return the UTC day of a unix time, as 2026-11-24."""
    return datetime.fromtimestamp(at, UTC).date().isoformat()
