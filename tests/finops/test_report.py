"""Reports: periods, groups, FOCUS, the weekly digest."""

from __future__ import annotations

import csv
import io

import pytest

from gateway.errors import ConfigError
from gateway.finops.digest import render_digest
from gateway.finops.focus import COLUMNS, MANDATORY, write_focus
from gateway.finops.periods import parse_past
from gateway.finops.report import GROUPINGS, create_group, group_entries
from gateway.store.spend import Account, Sums

NOON = 1_795_521_600.0
"""24 November 2026, 12:00 UTC."""
ENTRIES = [
    (
        Account("2026-11-23", "default", "cards", "gpt-4o", "local", "acme", "app", "/v1/chat/completions"),
        Sums(
            requests=8,
            prompt_tokens=800,
            completion_tokens=16,
            counterfactual_usd=4.0,
            usd=0.5,
            hedge_usd=0.5,
        ),
    ),
    (
        Account("2026-11-23", "default", "cards", "gpt-4o", "audit", "acme", "app", "/v1/chat/completions"),
        Sums(requests=1, prompt_tokens=100, completion_tokens=2, counterfactual_usd=0.5, usd=0.5),
    ),
    (
        Account("2026-11-24", "cheap", "", "o1|pro", "bypass", "", "cron", "/v1/responses"),
        Sums(requests=1, usd=9.0, counterfactual_usd=9.0, unpriced=1, unknown_usd=9.0, estimated=1),
    ),
]


@pytest.mark.parametrize(
    ("text", "seconds_ago"),
    [
        ("24h", 86_400),
        ("90m", 5_400),
        ("1d", 86_400 + 43_200),
        ("2026-11-24", 43_200),
        ("2026-11-24T11:00", 3_600),
    ],
)
def test_times_may_be_relative_or_absolute(text: str, seconds_ago: float) -> None:
    """Days begin at midnight UTC."""
    assert parse_past(text, NOON) == NOON - seconds_ago


@pytest.mark.parametrize(
    "text", ["yesterday", "2030", "2030-01-01", "", "-1d", "7", "2026-13-01", "2026-02-30", "d7", "99999w"]
)
def test_what_is_no_time_in_the_past_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is no time|in the future|before 1970"):
        parse_past(text, NOON)


@pytest.mark.parametrize("by", GROUPINGS)
def test_the_groups_add_up_to_the_total(by: object) -> None:
    groups = group_entries(ENTRIES, by)  # type: ignore[arg-type]
    total = create_group("", ENTRIES)

    assert sum((group.sums for group in groups), start=Sums()) == total.sums
    assert sum(group.audit_usd for group in groups) == total.audit_usd == 0.5
    assert sum(group.saved_usd for group in groups) == pytest.approx(total.saved_usd) == pytest.approx(3.5)


def test_the_dearest_stand_first_and_days_in_order() -> None:
    assert [group.name for group in group_entries(ENTRIES, "policy")] == ["cheap", "default"]
    assert [group.name for group in group_entries(ENTRIES, "day")] == ["2026-11-23", "2026-11-24"]


def test_focus_has_every_mandatory_column_filled() -> None:
    """Only ChargeClass may be empty: it marks corrections."""
    stream = io.StringIO()
    count = write_focus(ENTRIES, stream, provider="OpenAI", account="org-1")

    rows = list(csv.DictReader(io.StringIO(stream.getvalue())))
    assert (count, len(rows)) == (3, 3)
    assert set(MANDATORY) <= set(rows[0]) == set(COLUMNS)
    assert all(row[name] for row in rows for name in MANDATORY if name != "ChargeClass")
    assert sum(float(row["BilledCost"]) for row in rows) == pytest.approx(10.0)
    assert {row["ChargeCategory"] for row in rows} == {"Usage"}
    assert (rows[0]["BillingPeriodStart"], rows[0]["BillingPeriodEnd"]) == (
        "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z",
    )  # fmt: skip
    assert all(name.startswith("x_") or name[0].isupper() for name in COLUMNS)


def test_the_digest_says_what_changed_and_what_was_wasted() -> None:
    text = render_digest(ENTRIES, ENTRIES[:1], "2026-11-18", "2026-11-24")

    assert "Spent **$10.00** (+1900% on the week before)" in text
    assert "Audits cost $0.50, hedges $0.50" in text
    assert "| o1\\|pro | 1 | $9.0000 | $0.0000 |" in text
