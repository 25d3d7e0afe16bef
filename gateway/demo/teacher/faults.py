"""The faults of the simulated teacher: each request may meet a scripted one."""

from __future__ import annotations

import socket
import struct
from typing import Any

import msgspec

from gateway.api.http.asgi import Receive, Send
from gateway.core import Header
from gateway.demo.teacher.answers import HttpAnswer
from gateway.demo.teacher.asgi import sleep_connected

CHUNK_BYTES = 64


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fault of one request; without any field set the answer is normal.

    `status` and `body` replace those of the normal answer (`body` is base64 in JSON). `headers`
    are added and replace those of the same name. Content-length is set unless the answer is
    chunked. `cut_after` counts body bytes.
    """

    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    delay_ms: float = 0
    """Delay before the head."""
    is_hung: bool = False
    """The head never comes."""
    is_reset: bool = False
    """RST instead of the head or, with `cut_after`, instead of the rest of the body."""
    cut_after: int | None = None
    """Bytes after which the connection is closed."""
    is_chunked: bool = False
    """Transfer-Encoding chunked, CHUNK_BYTES per chunk."""
    chunk_delay_ms: float = 0
    """Delay before every chunk; implies chunks."""


async def send_faulty(fault: Fault, answer: HttpAnswer, label: Header, receive: Receive, send: Send) -> None:
    """Send `answer` with `fault`. Raises ClientLeftError if the client leaves while it is delayed."""
    if fault.delay_ms or fault.is_hung:
        await sleep_connected(receive, None if fault.is_hung else fault.delay_ms / 1000)
    if fault.is_reset and fault.cut_after is None:
        _reset(send)
        return
    body = answer.body if fault.body is None else fault.body
    is_chunked = fault.is_chunked or bool(fault.chunk_delay_ms)
    framing = [] if is_chunked else [(b"content-length", b"%d" % len(body))]
    headers = [label, *_headers(fault, answer), *framing]
    await send({"type": "http.response.start", "status": fault.status or answer.status, "headers": headers})

    end = len(body) if fault.cut_after is None else min(fault.cut_after, len(body))
    step = CHUNK_BYTES if is_chunked else max(1, len(body))
    for start in range(0, end, step):
        if fault.chunk_delay_ms:
            await sleep_connected(receive, fault.chunk_delay_ms / 1000)
        chunk = body[start : min(start + step, end)]
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    if fault.cut_after is None:
        await send({"type": "http.response.body", "body": b""})
    elif fault.is_reset:
        _reset(send)
    # Else uvicorn closes the connection because the answer is short: a clean FIN in mid-answer.


def _headers(fault: Fault, answer: HttpAnswer) -> list[Header]:
    own = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fault.headers]
    is_kind_given = any(name == b"content-type" for name, _ in own)
    return own if is_kind_given else [(b"content-type", answer.content_type), *own]


def _reset(send: Any) -> None:
    """Drop the connection with RST: zero linger, then abort.

    ASGI has no message for it, so this takes the transport of uvicorn's request cycle; `send` is
    a bound method of that.
    """
    transport = send.__self__.transport
    linger = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()
