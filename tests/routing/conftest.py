from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import msgspec
import pytest

from gateway.core import Request
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

    def __init__(self, **statuses: Literal["known", "separate"]) -> None:
        self.statuses: dict[str, Literal["known", "separate"]] = dict(statuses)

    def status_of(self, task: str, copy: str) -> Literal["known", "separate"] | None:
        """Return what the copy has proved."""
        return self.statuses.get(copy)


class Tasks:
    """Adopted tasks in memory."""

    def __init__(self, *known: Known) -> None:
        self._known = known

    def get(self, task: str) -> KnownTask | None:
        """Return one of them."""
        return next((known for known in self._known if known.task == task), None)

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
