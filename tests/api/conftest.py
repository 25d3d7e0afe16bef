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
