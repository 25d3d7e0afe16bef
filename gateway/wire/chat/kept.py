"""A chat request as it is kept: its messages and the fields beside them that an answer depends on."""

from __future__ import annotations

import msgspec

from gateway.core import Request
from gateway.wire.conversation import Conversation, name_user


class _Body(msgspec.Struct):
    messages: msgspec.Raw
    user: object = None
    safety_identifier: object = None
    functions: object = None


_bodies = msgspec.json.Decoder(_Body)


def keep_chat(request: Request) -> Conversation | None:
    """Return the conversation of `request`; None with `functions`, which no trainer takes any more."""
    body = _bodies.decode(request.content)
    if body.functions:
        return None
    return Conversation(
        messages=bytes(body.messages),
        tools=request.tools,
        response_format=request.response_format,
        may_call_in_parallel=request.may_call_in_parallel,
        user=name_user(body.safety_identifier, body.user),
    )
