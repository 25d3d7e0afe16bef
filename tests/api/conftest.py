"""The site that most tests of this room talk to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.site_server import SiteServer, serve_site


@pytest.fixture(scope="session")
def _running_site() -> Iterator[SiteServer]:
    with serve_site() as running:
        yield running


@pytest.fixture
def site(_running_site: SiteServer) -> SiteServer:
    """A site in its first state. The server is shared: each test also shows that the last one did no harm."""
    _running_site.reset()
    return _running_site


@pytest.fixture(scope="session")
def _running_own_site() -> Iterator[SiteServer]:
    with serve_site(has_own_key=True) as running:
        yield running


@pytest.fixture
def own_site(_running_own_site: SiteServer) -> SiteServer:
    """A site that pays the teacher itself; in front of `site` the clients do."""
    _running_own_site.reset()
    return _running_own_site
