"""A provider's failures, read and handed on in OpenAI's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import msgspec

from gateway.core import Body, Header
from gateway.errors import RequestError
from gateway.upstream.base import Reply
from gateway.upstream.dialect import Dialect, ForeignError
from gateway.wire.content_encoding import decode_body
from gateway.wire.errors import error_body

# An error is a few hundred bytes; a page of HTML, or an answer, is passed on as it comes.
MOST_ERROR_BYTES = 64 * 1024
_BODY_HEADERS = frozenset({b"content-length", b"content-type", b"content-encoding"})


async def read_failure(reply: Reply) -> tuple[Reply, object]:
    """Return `reply` with its body still to be read, and the JSON in it; None if it is none, or too long."""
    content, is_whole = await _read_beginning(reply.body)
    if not is_whole:
        return msgspec.structs.replace(reply, body=_Begun(content, reply.body)), None
    return msgspec.structs.replace(reply, body=_Begun(content)), _decode(reply.headers, content)


def find_hidden_failure(reply: Reply, answer: object, dialect: Dialect) -> Reply:
    """Return a 200 with the status of the error that it holds, else as it is."""
    status = dialect.hidden_status(answer) if isinstance(answer, Mapping) else None
    return msgspec.structs.replace(reply, status=status) if status else reply


def is_whole_json(headers: tuple[Header, ...]) -> bool:
    """Whether an answer is one JSON document, and no stream."""
    return any(name == b"content-type" and b"json" in value for name, value in headers)


def translate_error(reply: Reply, found: ForeignError) -> Reply:
    """Return `reply` with `found` for its body."""
    body = error_body(found.message, found.kind, code=found.code)
    told = frozenset(name for name, _ in found.headers)
    kept = [header for header in reply.headers if header[0] not in _BODY_HEADERS and header[0] not in told]
    headers = (
        *kept,
        *found.headers,
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
    )
    return msgspec.structs.replace(
        reply, status=found.status or reply.status, headers=headers, body=_Begun(body)
    )


class _Begun:
    """A body whose beginning has been read already; without a rest it is whole."""

    def __init__(self, beginning: bytes, rest: Body | None = None) -> None:
        self._beginning = beginning
        self._rest = rest

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._beginning:
            beginning, self._beginning = self._beginning, b""
            return beginning
        if self._rest is None:
            raise StopAsyncIteration
        return await anext(self._rest)

    async def aclose(self) -> None:
        self._beginning = b""
        if self._rest is not None:
            await self._rest.aclose()


async def _read_beginning(body: Body) -> tuple[bytes, bool]:
    """Return the first bytes of `body`, and whether they are all. White space alone is no beginning."""
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in body:
            pieces.append(piece)
            size += len(piece.lstrip()) if not size else len(piece)
            if size > MOST_ERROR_BYTES:
                return b"".join(pieces), False
    except BaseException:
        await body.aclose()
        raise
    return b"".join(pieces), True


def _decode(headers: tuple[Header, ...], content: bytes) -> Any:
    try:
        return msgspec.json.decode(decode_body(headers, content, MOST_ERROR_BYTES))
    except (ValueError, RecursionError, RequestError):
        return None
