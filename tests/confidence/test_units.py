"""Which audits count: no burst and no caller counts more than its part."""

from __future__ import annotations

from collections import Counter

import msgspec

from gateway.confidence.units import UnitFilter, independent_units, is_kept


class Seen(msgspec.Struct, frozen=True):
    """An audited request, as far as counting looks."""

    request_id: str
    at: float
    text_hash: int
    caller: str = "app"
    is_vouched_for: bool = True


def burst(copies: int, at: float = 0.0, text: int = 1, **facts: object) -> list[Seen]:
    return [
        msgspec.convert({"request_id": f"{at}-{text}-{n}", "at": at, "text_hash": text, **facts}, Seen)
        for n in range(copies)
    ]


def test_copies_of_a_text_in_a_minute_are_one_unit() -> None:
    """They are held out together, so they are one draw of the coin."""
    audits = burst(50, at=0.0) + burst(3, at=61.0)

    assert [unit.at for unit in independent_units(audits)] == [0.0, 61.0]


def test_a_caller_that_nobody_vouches_for_counts_once_a_day() -> None:
    audits = [*burst(1, at=0.0, is_vouched_for=False), *burst(1, at=3_600.0, is_vouched_for=False)]
    next_day = burst(1, at=90_000.0, is_vouched_for=False)

    assert len(independent_units(audits + next_day)) == 2


def test_a_text_that_no_version_has_learnt_counts_once_in_a_window() -> None:
    """Those left over were held out each time they were asked: a cluster."""
    audits = burst(1, at=0.0) + burst(1, at=600.0) + burst(1, at=9_000.0, text=2)

    assert [unit.text_hash for unit in independent_units(audits, once_per_text=True)] == [1, 2]


def test_no_caller_gives_more_than_its_share() -> None:
    """Its share is the units divided by the effective number of callers: here 1 / (.8 ** 2 + .2 ** 2)."""
    loud = [Seen(f"a{n}", n * 60.0, n, "loud") for n in range(800)]
    quiet = [Seen(f"b{n}", n * 60.0, n + 10_000, "quiet") for n in range(200)]

    counts = Counter(unit.caller for unit in independent_units(sorted(loud + quiet, key=lambda a: a.at)))

    assert counts["quiet"] == 200
    assert 640 <= counts["loud"] <= 720


def test_a_second_caller_that_asks_once_does_not_halve_the_evidence() -> None:
    audits = [Seen(f"a{n}", n * 60.0, n, "app") for n in range(999)]
    visitor = Seen("b", 99_999.0, 10_000, "visitor")

    assert len(independent_units([*audits, visitor])) >= 990


def test_a_lone_caller_is_not_capped() -> None:
    audits = [Seen(str(n), n * 60.0, n) for n in range(900)]

    assert independent_units(audits) == audits


def test_the_alarm_counts_the_same_units_as_they_come() -> None:
    units = UnitFilter()

    assert [units.admit(audit) for audit in burst(3)] == [True, False, False]
    assert units.admit(burst(1, at=60.0)[0])


def test_a_loud_caller_is_heard_less_and_never_falls_silent() -> None:
    """Nor does it silence the other: the alarm must go on for both."""
    units, counted = UnitFilter(), Counter[str]()
    for n in range(4_000):
        caller = "honest" if n % 4 == 0 else "loud"
        if units.admit(Seen(str(n), n * 60.0, n, caller)):
            counted[caller] += 1

    assert counted["honest"] == 1_000
    assert 2_200 <= counted["loud"] <= 2_800


def test_counting_stays_cheap_on_a_busy_day() -> None:
    """What can no longer repeat is forgotten one by one, not searched for."""
    units = UnitFilter()
    for n in range(3_000):
        units.admit(Seen(str(n), n * 6.0, n))

    units.admit(Seen("later", 3 * 86_400.0, 9_999))

    assert len(units._seen) == 1


def test_thinning_keeps_what_a_smaller_share_kept() -> None:
    ids = [f"req-{n}" for n in range(2_000)]
    small, large = ({i for i in ids if is_kept(i, share, b"window")} for share in (0.1, 0.3))

    assert small < large
    assert 480 <= len(large) <= 720
    assert large != {i for i in ids if is_kept(i, 0.3, b"caller")}
