"""What a client asked: its original bytes and the few facts which decide who answers."""

from __future__ import annotations

from typing import Literal

import msgspec

from gateway.core.draft import DraftRequest

Mode = Literal["auto", "teacher", "local", "shadow"]
Surface = Literal["chat", "responses", "embeddings"]

OWN_PREFIX = "stepdown/"
"""Before a task's name it makes the name of a model of ours."""


class Message(msgspec.Struct, frozen=True):
    """One message of the conversation, reduced to its text."""

    role: str
    text: str


class IncomingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What came from whom, before anybody looked into the body.

    `body` and `headers` are the client's own and go to the teacher unchanged; names of headers are in
    lower case. `received_at` is monotonic seconds.
    """

    id: str
    caller: str
    target: bytes
    """Raw path and query, exactly as sent."""
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    received_at: float
    is_trusted: bool = True
    """False until the teacher has accepted this caller's own credential."""


class Request(IncomingRequest, frozen=True, kw_only=True):
    """One chat completion, request of the Responses API or for embeddings, read.

    Everything here was peeked from what arrived once and is never written back.
    """

    surface: Surface = "chat"
    """The API through which it came, and in whose shape its answer goes back."""

    model: str
    messages: tuple[Message, ...]
    template: str
    """Hex hash of what an app repeats: model, system messages, tools, forced tool_choice,
    response_format."""
    contract_hash: str
    """Hex hash of what two templates of one task share exactly: all of these but the messages."""
    template_text: str
    text: str
    """What varies from request to request: all a specialist ever sees."""

    is_streamed: bool = False
    wants_usage: bool = False
    response_format: bytes = b""
    """The field's JSON; empty when absent, as for `tools` and `tool_choice`."""
    tools: bytes = b""
    tool_choice: bytes = b""
    may_call_in_parallel: bool = True
    wants_json: bool = False
    top_logprobs: int | None = None
    """How many alternatives a token the client wants to see; None for no logprobs at all."""
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    mode: Mode = "auto"
    may_harvest: bool = True
    is_stored_by_default: bool = False
    """Whether the teacher would keep its answer, to be asked for later, though nobody said so."""
    unsupported_reason: str = ""
    """Why no specialist may answer ("tools", "n > 1"); empty when one may."""

    @property
    def may_begin_early(self) -> bool:
        """Whether an answer may go out before its end is known: only free text can be judged so.

        And only where its end is the answer's own: the teacher counts `max_tokens` in other tokens.
        The rest of such a text comes without its tokens' logprobs.
        """
        is_free_text = not (self.wants_json or self.tools or self.top_logprobs is not None)
        return self.is_streamed and is_free_text and self.max_tokens is None

    def draft_request(self, *, is_streamed: bool) -> DraftRequest:
        """Return what a specialist is asked; streamed only if its first words may go out before its last."""
        return DraftRequest(
            text=self.text,
            max_tokens=self.max_tokens,
            stop=self.stop,
            response_format=self.response_format,
            tools=self.tools,
            top_logprobs=self.top_logprobs,
            is_streamed=is_streamed,
            seed=self.seed,
        )

    @property
    def names_specialist(self) -> bool:
        """Whether the client asked for a specialist by name, whom no teacher can stand in for."""
        return self.model.startswith(OWN_PREFIX)
