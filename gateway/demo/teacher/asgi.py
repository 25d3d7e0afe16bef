"""ASGI from the side of the teacher: the body of a request, and the client that leaves."""

from __future__ import annotations

import asyncio

from gateway.api.http.asgi import Receive


class ClientLeftError(Exception):
    """The client closed its connection before its answer was complete."""


async def read_body(receive: Receive) -> bytes:
    """Return the whole request body. Raises ClientLeftError if the client leaves before its end."""
    parts = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def sleep_connected(receive: Receive, seconds: float | None) -> None:
    """Sleep, without end if `seconds` is None. Raises ClientLeftError as soon as the client leaves."""
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return
    raise ClientLeftError
