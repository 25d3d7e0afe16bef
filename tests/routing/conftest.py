from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import pytest

from gateway.core import Message, Request
from gateway.routing.base import KnownTask

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
    """Return a maker of requests; keywords replace fields."""

    def make(**changed: object) -> Request:
        plain = Request(
            id="r",
            caller="c",
            target=b"/v1/chat/completions",
            headers=(),
            body=b"{}",
            received_at=0.0,
            model="gpt-4o",
            messages=(Message("user", "hello"),),
            template="0123456789abcdef" * 2,
            contract_hash="g",
            template_text="You label support tickets.",
            text="hello",
        )
        return msgspec.structs.replace(plain, **changed)

    return make
