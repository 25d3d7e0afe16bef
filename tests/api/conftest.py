"""The house which most tests of this room talk to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.site_server import House, open_house


@pytest.fixture(scope="session")
def _standing_house() -> Iterator[House]:
    with open_house() as opened:
        yield opened


@pytest.fixture
def house(_standing_house: House) -> House:
    """A house as new. The server is shared: each test also shows that the one before did no harm."""
    _standing_house.renew()
    return _standing_house
