from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import pytest

from gateway.core import CopyStatus, Request
from gateway.routing.base import KnownTask
from tests.support.builders import request

Ask = Callable[..., Request]
SCOPE = "tenant:shop"


class Known(msgspec.Struct, frozen=True):
    """An adopted task."""

    task: str
    contract_hash: str
    vector: bytes
    template_text: str = "You label support tickets."
    scope: str = SCOPE


class Copies:
    """What near copies have proved, in memory."""

    def __init__(self, **statuses: CopyStatus) -> None:
        self.statuses: dict[str, CopyStatus] = dict(statuses)

    def status_of(self, task: str, *copies: str) -> CopyStatus | None:
        """Return what the first of the copies has proved."""
        return next((self.statuses[copy] for copy in copies if copy in self.statuses), None)


class Tasks:
    """Adopted tasks in memory."""

    def __init__(self, *known: Known) -> None:
        self._known = known

    def get(self, task: str) -> KnownTask | None:
        """Return one of them."""
        return next((known for known in self._known if known.task == task), None)

    def find_named(self, scope: str, name: str) -> KnownTask | None:
        """Return one of a scope: here its id is its only name."""
        return next((known for known in self._known if (known.task, known.scope) == (name, scope)), None)

    def all(self) -> Sequence[KnownTask]:
        """Return them all."""
        return self._known


@pytest.fixture
def ask() -> Ask:
    """Return the builder of requests of one adopted task; keywords replace fields."""
    return partial(
        request,
        template="0123456789abcdef" * 2,
        contract_hash="g",
        template_text="You label support tickets.",
    )
