"""The ways in which the simulated teacher can fail, each asked for by a script."""

from __future__ import annotations

import socket
import struct
from typing import Any

import msgspec

from gateway.core import Header
from gateway.demo.teacher.answers import Given
from gateway.demo.teacher.asgi import Receive, Send, pause

CHUNK_BYTES = 64


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to one request; an empty one is a normal answer.

    `status` and `body` replace those of the normal answer (`body` is base64 in JSON);
    `headers` are added, in place of those with the same name. Content-length is set unless
    the answer comes in chunks. `cut_after` counts body bytes.
    """

    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    delay_ms: float = 0
    """Before the head."""
    is_hung: bool = False
    """No head ever comes."""
    is_reset: bool = False
    """RST instead of a head or, with `cut_after`, instead of the rest of the body."""
    cut_after: int | None = None
    """The connection is closed after so many bytes."""
    is_chunked: bool = False
    """Transfer-Encoding chunked, CHUNK_BYTES a chunk."""
    chunk_delay_ms: float = 0
    """Before every chunk; implies chunks."""


async def misbehave(fault: Fault, given: Given, label: Header, receive: Receive, send: Send) -> None:
    """Send the normal answer as `fault` bends it. Raises ClientLeftError if nobody waits for it."""
    if fault.delay_ms or fault.is_hung:
        await pause(receive, None if fault.is_hung else fault.delay_ms / 1000)
    if fault.is_reset and fault.cut_after is None:
        _reset(send)
        return
    body = given.body if fault.body is None else fault.body
    is_chunked = fault.is_chunked or bool(fault.chunk_delay_ms)
    framing = [] if is_chunked else [(b"content-length", b"%d" % len(body))]
    headers = [label, *_headers(fault, given), *framing]
    await send({"type": "http.response.start", "status": fault.status or given.status, "headers": headers})

    end = len(body) if fault.cut_after is None else min(fault.cut_after, len(body))
    step = CHUNK_BYTES if is_chunked else max(1, len(body))
    for start in range(0, end, step):
        if fault.chunk_delay_ms:
            await pause(receive, fault.chunk_delay_ms / 1000)
        chunk = body[start : min(start + step, end)]
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    if fault.cut_after is None:
        await send({"type": "http.response.body", "body": b""})
    elif fault.is_reset:
        _reset(send)
    # Else returning early makes uvicorn close the connection: a clean FIN in mid-answer.


def _headers(fault: Fault, given: Given) -> list[Header]:
    own = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fault.headers]
    is_kind_given = any(name == b"content-type" for name, _ in own)
    return own if is_kind_given else [(b"content-type", given.kind), *own]


def _reset(send: Any) -> None:
    """Drop the connection with RST: zero linger, then abort.

    ASGI has no word for it, so this reaches for the transport of uvicorn's request cycle,
    of which `send` is a bound method.
    """
    transport = send.__self__.transport
    linger = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()
