"""What goes back to the client, whoever made it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Protocol

import msgspec

Header = tuple[bytes, bytes]


class Body(Protocol):
    """Bytes in the order in which they must be sent; read once, by one task.

    An async generator is one. `aclose` may be called at any time, also before the first
    byte was read, and frees whatever feeds the body, the teacher's connection included.
    """

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def __anext__(self) -> Awaitable[bytes]: ...

    def aclose(self) -> Awaitable[None]:
        """Free what feeds the body; a second call does nothing."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Status, headers and body; whoever takes an Answer must read or close its body."""

    status: int
    headers: tuple[Header, ...]
    body: Body
    labels: tuple[Header, ...] = ()
    """The `x-stepdown-*` headers; api decides who sees which."""
