"""What it costs in audits to renew certificates in time."""

from __future__ import annotations

import math

from gateway.confidence.sample_size import audits_needed
from gateway.confidence.spending import ATTEMPTS_IN_FORCE, delta_for_attempt
from loadtests.certificate.base import DELTA, Row, Setting, percent

PER_DAY = (100, 1_000, 100_000)
ALPHAS = (0.02, 0.05)
DAYS = (30, 90)
COVERAGE = 0.8
MOST_SHARE = 0.3
"""No more is audited even in shadow."""

_ERROR = 0.4
"""Of alpha: how often a good specialist errs."""


def show_renewal_price(setting: Setting) -> list[Row]:
    """Return the share of the traffic that must be audited, at the smaller of the levels that alternate."""
    del setting
    return [_row(alpha, per_day) for alpha in ALPHAS for per_day in PER_DAY]


def audits_to_renew(alpha: float) -> int:
    """Return the audits that renew a certificate with probability 0.8, accepted or not."""
    level = min(delta_for_attempt(DELTA, attempt) for attempt in range(1, ATTEMPTS_IN_FORCE + 1))
    accepted = audits_needed(alpha, level, _ERROR * alpha)
    assert accepted is not None
    return math.ceil(accepted / COVERAGE)


def _row(alpha: float, per_day: int) -> Row:
    needed = {days: audits_to_renew(alpha) / (per_day * days) for days in DAYS}
    return Row(
        scenario=f"renewal at {per_day:,} requests per day, alpha {percent(alpha)}",
        bar="-",
        measured="; ".join(_in_words(days, share) for days, share in needed.items()),
        figures={f"share_{days}_days": share for days, share in needed.items()},
    )


def _in_words(days: int, needed: float) -> str:
    share = min(needed, MOST_SHARE)
    verdict = "kept" if needed <= MOST_SHARE else f"NOT kept, needs {percent(needed)}"
    return f"{days} days: audits {percent(share, 2)}, costs {percent(share * COVERAGE, 2)}, {verdict}"
