"""What a client asked: its original bytes and the few facts which decide who answers."""

from __future__ import annotations

from typing import Literal

import msgspec

Mode = Literal["auto", "teacher", "local", "shadow"]

OWN_PREFIX = "stepdown/"
"""Before a task's name it makes the name of a model of ours."""


class Message(msgspec.Struct, frozen=True):
    """One message of the conversation, reduced to its text."""

    role: str
    text: str


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One chat completion as the client sent it.

    `body` and `headers` are the client's own and go to the teacher unchanged. Everything
    else was peeked from them once and is never written back.
    """

    id: str
    caller: str
    target: bytes
    """Raw path and query, exactly as sent."""
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    received_at: float

    model: str
    messages: tuple[Message, ...]
    template: str
    """Hex hash of what an app repeats: model, system messages, tools, response_format."""
    guard: str
    """Hex hash of what two templates of one task share exactly: model, tools, response_format."""
    template_text: str
    text: str
    """What varies from request to request: all a specialist ever sees."""

    is_streamed: bool = False
    wants_usage: bool = False
    wants_json: bool = False
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    mode: Mode = "auto"
    may_harvest: bool = True
    is_trusted: bool = True
    """False until the teacher has accepted this caller's own credential."""
    beyond_specialists: str = ""
    """Why no specialist may answer ("tools", "n > 1"); empty when one may."""

    @property
    def names_specialist(self) -> bool:
        """Whether the client asked for a specialist by name, whom no teacher can stand in for."""
        return self.model.startswith(OWN_PREFIX)
