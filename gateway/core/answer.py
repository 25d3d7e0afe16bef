"""The answer that goes back to the client, made by a specialist or by the teacher."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Protocol

import msgspec

Header = tuple[bytes, bytes]
"""A name in lower case and its value."""


class Body(Protocol):
    """The bytes of an answer, in sending order; read once, by one task.

    An async generator is a Body. `aclose` may be called at any time, also before the first
    read; it frees everything that feeds the body, including the connection to the teacher.
    """

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def __anext__(self) -> Awaitable[bytes]: ...

    def aclose(self) -> Awaitable[None]:
        """Free the source of the body; a second call does nothing."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Status, headers and body. The receiver of an Answer must read or close its body."""

    status: int
    headers: tuple[Header, ...]
    body: Body
    details: tuple[Header, ...] = ()
    """The same headers for a caller that the operator vouches for: with audits, scores, thresholds."""
    labels: tuple[Header, ...] = ()
    """The `x-stepdown-*` headers; api decides which callers see them."""
