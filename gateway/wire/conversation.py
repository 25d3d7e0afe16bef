"""What is kept of a request: its conversation in the chat API's words, whichever API it came through."""

from __future__ import annotations

import msgspec


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """The conversation before an answer, and what was said of it; JSON fields are empty when absent."""

    messages: bytes
    """The JSON array of messages; of a chat request as the client sent it."""
    tools: bytes = b""
    response_format: bytes = b""
    may_call_in_parallel: bool = True
    user: str = ""
    """The client's own name for its end user: `safety_identifier`, else `user`."""


def name_user(*names: object) -> str:
    """Return the first of `names` that is a text; of what else stands there the teacher judges."""
    for name in names:
        if name and isinstance(name, str):
            return name
    return ""
