"""POST /v1/feedback: what an app says of the answer to one of its requests."""

from __future__ import annotations

import time
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gateway.api.admission import admit_caller
from gateway.api.dependencies import ApiDependencies
from gateway.api.http.body import BodyLimit
from gateway.api.http.exchange import Exchange
from gateway.errors import RequestError
from gateway.store.reviews import Feedback

LIMIT = BodyLimit(max_bytes=1 << 16, total_s=60.0)
"""Specialists give no longer answers."""


class _Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    request_id: Annotated[str, Meta(min_length=1, max_length=128)]
    rating: Literal["up", "down"] | None = None
    answer: Annotated[str, Meta(min_length=1)] | None = None


_body = msgspec.json.Decoder(_Body)


async def take_feedback(exchange: Exchange, deps: ApiDependencies) -> None:
    """Take a rating, or the right answer, to a request of the caller's tenant; a reviewer will see it.

    Whether there is such a request is not told. Raises RequestError.
    """
    caller = await admit_caller(exchange, deps)
    if not caller.is_trusted:
        raise RequestError("The teacher has not accepted this key yet; send a request first.", status=403)
    if caller.key is not None and not caller.key.grant.may_harvest:
        raise RequestError("Nothing of this key's requests is kept: there is nothing to review.", status=403)
    body = _read(await exchange.open_body(LIMIT).read_all())
    feedback = Feedback(
        request_id=body.request_id,
        tenant=caller.tenant,
        caller=caller.id,
        rating=body.rating or "",
        answer=body.answer or "",
        at=time.time(),
    )
    if not deps.put_feedback(feedback):
        raise RequestError("Too much feedback at once; try again.", status=503, kind="server_error")
    await exchange.send_json(202, b'{"object":"feedback","status":"accepted"}')


def _read(content: bytes) -> _Body:
    try:
        body = _body.decode(content)
    except (msgspec.MsgspecError, RecursionError) as exc:
        raise RequestError(f"Invalid feedback: {exc}") from exc
    if body.rating is None and body.answer is None:
        raise RequestError('Invalid feedback: say "rating" ("up" or "down"), "answer", or both.')
    return body
