"""The window of evidence: dated, and all of one weight."""

from __future__ import annotations

import msgspec
import pytest

from gateway.confidence.window import equal_propensity


class Row(msgspec.Struct, frozen=True):
    request_id: str
    at: float
    propensity: float


def rows(count: int, propensity: float, start: float = 0.0) -> list[Row]:
    return [Row(f"{start}-{n}", start + n, propensity) for n in range(count)]


def test_rows_of_one_propensity_all_count() -> None:
    window = equal_propensity(rows(100, 0.3), 0.0, most=1_000)

    assert (len(window.rows), window.propensity, window.starts_at, window.ends_at) == (100, 0.3, 0.0, 99.0)


def test_old_traffic_that_was_audited_more_is_thinned() -> None:
    """Else a request of the shadow would weigh fifteen times as much as one of today."""
    shadow, live = rows(3_000, 0.3), rows(2_000, 0.02, start=5_000)

    window = equal_propensity(shadow + live, 0.0, most=10_000)

    old = sum(row.at < 5_000 for row in window.rows)
    assert window.propensity == 0.02
    assert len(window.rows) - old == 2_000
    assert 150 <= old <= 250


def test_a_window_begins_later_where_that_leaves_more() -> None:
    """A few rare rows long ago must not thin out all that came since."""
    rare, since = rows(3, 0.01), rows(500, 0.3, start=1_000)

    window = equal_propensity(rare + since, 0.0, most=10_000)

    assert (len(window.rows), window.starts_at, window.propensity) == (500, 1_000.0, 0.3)


def test_a_window_ends_earlier_only_where_it_may() -> None:
    """A successor may stand on what its predecessor stands on; anything else on today's traffic."""
    shadow, live = rows(500, 0.3), rows(20, 0.02, start=1_000)

    held = equal_propensity(shadow + live, 0.0, 10_000, ends_from=499.0)
    newest = equal_propensity(shadow + live, 0.0, 10_000)
    too_late = equal_propensity(shadow + live, 0.0, 10_000, ends_from=1_000.0)

    assert (len(held.rows), held.propensity, held.ends_at) == (500, 0.3, 499.0)
    assert newest == too_late
    assert newest.ends_at == 1_019.0


def test_a_window_may_end_wherever_fewer_were_audited_from_then_on() -> None:
    shadow, settling, live = rows(300, 0.3), rows(400, 0.1, start=1_000), rows(20, 0.02, start=2_000)

    window = equal_propensity(shadow + settling + live, 0.0, 10_000, ends_from=299.0)

    assert (window.propensity, window.ends_at) == (0.1, 1_399.0)
    assert 440 <= len(window.rows) <= 560


@pytest.mark.parametrize(("since", "most", "kept"), [(90.0, 1_000, 10), (0.0, 20, 20), (500.0, 10, 0)])
def test_only_the_newest_rows_since_a_date_count(since: float, most: int, kept: int) -> None:
    window = equal_propensity(rows(100, 0.3), since, most)

    assert len(window.rows) == kept
    assert all(row.at >= since for row in window.rows)


def test_which_rows_stay_is_the_same_every_time() -> None:
    mixed = rows(500, 0.3) + rows(100, 0.1, start=600)

    assert equal_propensity(mixed, 0.0, 1_000) == equal_propensity(mixed, 0.0, 1_000)
