from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import pytest

from gateway.core import Request
from gateway.routing.base import KnownTask
from tests.support.builders import request

Ask = Callable[..., Request]


class Known(msgspec.Struct, frozen=True):
    """An adopted task."""

    task: str
    contract_hash: str
    vector: bytes


class Tasks:
    """Adopted tasks in memory."""

    def __init__(self, *known: Known) -> None:
        self._known = known

    def __contains__(self, task: str, /) -> bool:
        return any(known.task == task for known in self._known)

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
