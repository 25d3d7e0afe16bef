"""Where no key is needed, no web page from elsewhere is answered."""

from __future__ import annotations

from typing import cast

import pytest
from litestar.testing import TestClient

from gateway.api.admin.app import create_admin
from gateway.api.admin.inventory import Inventory
from gateway.api.admin.plane import AdminPlane
from gateway.api.auth import Authenticator
from gateway.api.foreign_pages import guard_site, refuse_foreign_pages
from gateway.errors import RequestError
from tests.api.site_server import SiteServer, chat_body, serve_site
from tests.api.test_admin import Plane


def is_refused(host: str | None, origin: str | None = None, names: tuple[str, ...] = ()) -> bool:
    pairs = ((b"host", host), (b"origin", origin))
    headers = [(name, value.encode("latin-1")) for name, value in pairs if value is not None]
    try:
        refuse_foreign_pages(headers, names)
    except RequestError as exc:
        return exc.status == 403
    return False


@pytest.mark.parametrize(
    "host",
    [
        None, "localhost", "localhost:8080", "LOCALHOST.", "app.localhost:1", "127.0.0.1:8080", "127.8.8.8",
        "[::1]:8080", "10.1.2.3:8081", "[fd00::1]", "host.docker.internal:8080",
    ],
)  # fmt: skip
def test_addresses_and_local_names_may_be_called(host: str | None) -> None:
    assert not is_refused(host)


@pytest.mark.parametrize(
    "host",
    [
        "rebound.example", "rebound.example:8080", "localhost.rebound.example", "127.0.0.1.rebound.example",
        "rebound.example@localhost", "localhost@rebound.example", "", "evil:localhost", "notlocalhost",
    ],
)  # fmt: skip
def test_another_name_is_refused_because_a_page_may_have_made_it_point_here(host: str) -> None:
    assert is_refused(host)


@pytest.mark.parametrize(
    ("origin", "refused"),
    [
        ("http://localhost:3000", False),
        ("http://127.0.0.1:5173", False),
        ("http://[::1]:5173", False),
        ("https://evil.example", True),
        ("https://localhost.evil.example", True),
        ("null", True),
        ("", True),
        ("http://[", True),
        ("http://10.1.2.3", True),
    ],
)
def test_a_page_must_be_of_this_machine(origin: str, refused: bool) -> None:
    assert is_refused("127.0.0.1:8080", origin) is refused


def test_a_page_of_the_host_that_was_called_may_call_it() -> None:
    assert not is_refused("10.1.2.3:8081", "http://10.1.2.3:8081")


def test_names_of_the_settings_may_be_called() -> None:
    assert not is_refused("stepdown.corp:8081", "https://stepdown.corp", ("stepdown.corp",))


def test_an_open_site_spends_nothing_for_a_page_from_elsewhere(site: SiteServer) -> None:
    """A plain POST of text needs no leave from us: no browser asks first."""
    page = {"origin": "https://evil.example", "content-type": "text/plain"}

    refused = site.ask("POST", "/v1/chat/completions", chat_body(), page)
    rebound = site.ask("POST", "/v1/chat/completions", chat_body(), {"host": "rebound.example"})
    passed = site.ask("POST", "/v1/files", b"x", page)

    assert [answer.status for answer in (refused, rebound, passed)] == [403] * 3
    assert refused.error["code"] == "origin_not_allowed"
    assert rebound.error["code"] == "host_not_allowed"
    assert site.flow.requests == []
    assert site.teacher.calls == []


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_load_balancer_asks_for_health_by_any_name(site: SiteServer, path: str) -> None:
    """Envoy names its cluster. Nothing else is answered by that name, and no page asks even this."""
    by_name = {"host": "gateways"}

    assert site.ask("GET", path, headers=by_name).status == 200
    assert site.ask("GET", path, headers={**by_name, "origin": "https://evil.example"}).status == 403
    for other in ("/v1/models", f"{path}/", f"{path}/../v1/models", f"/{path}", "/v1/files"):
        assert site.ask("GET", other, headers=by_name).status == 403, other
    assert site.teacher.calls == []


def test_a_site_with_keys_may_be_called_by_any_name_and_page() -> None:
    with serve_site(Authenticator("forward")) as site:
        headers = {"host": "api.corp", "origin": "https://app.corp", "authorization": "Bearer x"}
        assert site.ask("POST", "/v1/chat/completions", chat_body(), headers).status == 200


def test_the_admin_plane_answers_no_page_from_elsewhere() -> None:
    admin = create_admin(cast("AdminPlane", Plane()), cast("Inventory", None), is_loopback=True)
    site = guard_site(admin, ())  # type: ignore[arg-type]
    with TestClient(site, base_url="http://127.0.0.1:8081") as client:  # type: ignore[type-var]
        assert client.get("/metrics").status_code == 200
        for headers in ({"host": "rebound.example"}, {"origin": "https://evil.example"}):
            refused = client.get("/status", headers=headers)
            assert refused.status_code == 403
            health = client.get("/healthz", headers=headers)
            assert health.status_code == (403 if "origin" in headers else 200)
            assert set(refused.json()["error"]) == {"message", "type", "param", "code"}
