"""A request, a standing and stores in memory, for the tests of confidence."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.core import Audit, Request, Route, Standing
from tests.support.builders import request


class AuditList:
    """An audit log in memory, numbered from 1."""

    def __init__(self) -> None:
        self.audits: list[Audit] = []

    def put(self, audit: Audit) -> None:
        self.audits.append(audit)

    def since(self, seq: int) -> list[tuple[int, Audit]]:
        return list(enumerate(self.audits, start=1))[seq:]


class StandingDict:
    """Standings in memory."""

    def __init__(self, *standings: Standing) -> None:
        self._standings = {(standing.task, standing.lane): standing for standing in standings}
        self.writes = 0

    def of(self, route: Route) -> Standing:
        known = self._standings.get((route.task, route.lane))
        return known or Standing(task=route.task, lane=route.lane)

    def put_if(self, epoch: int, standing: Standing) -> bool:
        if self.of(Route(standing.task, standing.lane)).epoch != epoch:
            return False
        self._standings[standing.task, standing.lane] = standing
        self.writes += 1
        return True


@pytest.fixture
def audits() -> AuditList:
    return AuditList()


@pytest.fixture
def live() -> Standing:
    """A standing that serves drafts of version 3 with a score of at least 0.6."""
    return Standing(
        task="intents", lane="fingerprint", stage="live", version=3, threshold=0.6, alpha=0.05, attempts=4
    )


@pytest.fixture
def ask() -> Callable[..., Request]:
    """Return the builder of requests; keywords replace fields."""
    return request
