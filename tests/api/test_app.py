"""Health, readiness and request ids."""

from __future__ import annotations

from tests.api.site_server import SiteServer, serve_site


def test_alive_without_a_key_or_a_teacher(site: SiteServer) -> None:
    response = site.ask("GET", "/healthz")

    assert (response.status, response.json) == (200, {"status": "alive"})
    assert not site.teacher.calls


def test_readiness_is_reported() -> None:
    states = iter([False, True])
    with serve_site(is_ready=lambda: next(states)) as site:
        assert [site.ask("GET", "/readyz").status for _ in range(2)] == [503, 200]


def test_every_request_has_its_own_id(site: SiteServer) -> None:
    ids = {site.ask("GET", path).header("x-stepdown-request-id") for path in ("/healthz", "/v1/x", "/no")}

    assert len(ids) == 3
    assert None not in ids
