"""How long rows are kept: by what was said when they were harvested, and by what is said now."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

DAY_S = 86_400.0


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """The rules in force now; a row goes by the strictest that speaks of it. None: no limit."""

    keep_days: float | None = None
    max_mb: int | None = None
    """Of all rows together; the oldest go first."""
    by_policy: Mapping[str, float] = {}
    """Days by the name of the policy that planned the request."""


def find_expiry(at: float, *limits: float | None) -> float | None:
    """Return when a row of `at` expires by the shortest of `limits`, in days; None if there is none."""
    days = None
    # A loop, because it runs for every row: a generator takes a microsecond more.
    for limit in limits:
        if limit is not None and (days is None or limit < days):
            days = limit
    return None if days is None else at + days * DAY_S
