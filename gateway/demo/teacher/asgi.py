"""The words of ASGI, for the teacher and its faults."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class ClientLeftError(Exception):
    """The client closed its connection before it had its answer."""


async def read_body(receive: Receive) -> bytes:
    """Return the whole request body. Raises ClientLeftError if it never came whole."""
    parts = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def pause(receive: Receive, seconds: float | None) -> None:
    """Sleep, for ever if `seconds` is None. Raises ClientLeftError as soon as the client leaves."""
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return
    raise ClientLeftError
