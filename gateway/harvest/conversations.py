"""Conversations as other tools recorded them, and what every shape of a record needs to read one."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import msgspec

RecordedSurface = Literal["chat", "responses"]
"""The API that a conversation came through: the same words over the other one are another task."""


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """A request and what was answered to it, as fields of its API."""

    fields: dict[str, Any]
    """Of the request; messages are among them, or `input`."""
    answer: dict[str, Any]
    """The assistant's message; of the Responses API the response's `status` and `output`."""
    surface: RecordedSurface = "chat"
    is_echo: bool = False
    """Whether `fields` has the tools and formats as the teacher repeats them, not as the app spells them."""


class RecordError(ValueError):
    """A record that cannot be read; the message says why."""


class Shape(Protocol):
    """A module of `harvest/shapes/`."""

    def read_record(self, record: dict[str, Any]) -> list[Conversation] | None:
        """Return the conversations of a record; None if it has another shape.

        An empty list is of this shape and holds none. Raises RecordError for one that is damaged.
        """


def parse_nested(value: Any) -> Any:
    """Return JSON that a table holds as text, parsed; anything else as it is."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return msgspec.json.decode(value)
        except msgspec.DecodeError:
            return value
    return value


def read_completion(request: Any, response: Any) -> Conversation:
    """Return the conversation of a request and the completion that answered it. Raises RecordError."""
    try:
        choice = response["choices"][0]
        message, reason = choice["message"], choice.get("finish_reason")
        fields = {**request, "messages": list(request["messages"])}
    except (KeyError, IndexError, TypeError, AttributeError) as exc:
        raise RecordError("request and response are not those of a chat completion") from exc
    if reason not in ("stop", "tool_calls", None):
        raise RecordError(f"the answer ended with {reason}")
    return Conversation(fields=fields, answer=message)


def read_response(request: Any, response: Any, *, is_echo: bool = False) -> Conversation:
    """Return the conversation of a request and the response that answered it. Raises RecordError."""
    try:
        status, details = response.get("status") or "completed", response.get("incomplete_details") or {}
        answer = {"status": status, "output": list(response["output"])}
        fields = {**request, "input": request["input"]}
        if status != "completed":
            raise RecordError(f"the answer ended with {details.get('reason') or status}")
    except (KeyError, TypeError, AttributeError) as exc:
        raise RecordError("request and response are not those of the Responses API") from exc
    return Conversation(fields=fields, answer=answer, surface="responses", is_echo=is_echo)


def make_message(text: str) -> dict[str, Any]:
    """Return the assistant's message of a text."""
    return {"role": "assistant", "content": text}
