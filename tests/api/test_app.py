"""Health, readiness, ids, and what is no HTTP."""

from __future__ import annotations

from tests.api.site_server import House, open_house


def test_alive_without_a_key_or_a_teacher(house: House) -> None:
    got = house.ask("GET", "/healthz")

    assert (got.status, got.json) == (200, {"status": "alive"})
    assert not house.teacher.calls


def test_ready_says_whether_it_is() -> None:
    states = iter([False, True])
    with open_house(is_ready=lambda: next(states)) as house:
        assert [house.ask("GET", "/readyz").status for _ in range(2)] == [503, 200]


def test_every_request_has_its_own_id(house: House) -> None:
    ids = {house.ask("GET", path).header("x-stepdown-request-id") for path in ("/healthz", "/v1/x", "/no")}

    assert len(ids) == 3
    assert None not in ids
