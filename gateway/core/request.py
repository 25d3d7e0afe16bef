"""The client's request: its original bytes, and the few facts that decide who answers."""

from __future__ import annotations

from typing import Literal

import msgspec

from gateway.core.draft import Demands, DraftRequest
from gateway.core.endpoint import Resource
from gateway.core.grant import Grant

Mode = Literal["auto", "teacher", "local", "shadow"]
"""The client's wish for one request, from the header x-stepdown-mode. auto: we decide. teacher: only
the teacher answers. local: only a specialist does, certified or not. shadow: the teacher answers, a
specialist drafts for comparison."""

SurfaceName = Literal["chat", "responses", "embeddings", "other"]
"""The API that a request came through; `other` is all that only the teacher answers."""

OWN_PREFIX = "stepdown/"
"""Our own models are named `stepdown/<task>`, or `stepdown/<encoder>` for embeddings."""


_TEMPLATE_ROLES = frozenset({"system", "developer"})
_LENGTHS = ((256, "short"), (1_024, "medium"), (4_096, "long"))
"""Characters of what varies: a sentence or two, a paragraph, a page."""


class Message(msgspec.Struct, frozen=True):
    """One message of the conversation, reduced to its text."""

    role: str
    text: str


class IncomingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An authenticated request before its body is parsed.

    `body` and `headers` are the client's own and go to the teacher unchanged; header names are in
    lower case. `received_at` is in monotonic seconds.
    """

    id: str
    caller: str
    """The name of the gateway key, or the fingerprint of the client's own credential."""
    target: bytes
    """Raw path and query, exactly as sent."""
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    received_at: float
    is_trusted: bool = True
    """False until the teacher has accepted this caller's own credential."""
    tenant: str = ""
    """The owner of its data; what one tenant's traffic has taught is served to no other."""
    is_vouched_for: bool = True
    """Whether the operator trusts this caller: only then do its repeats count as evidence each minute."""
    may_force_local: bool = True
    """Whether it may ask for a specialist's answer whatever the certificate says."""
    key_id: str = ""
    """The id of its gateway key; empty where callers have none."""
    grant: Grant = Grant()
    """What its key lets it do."""
    reserved_tokens: float = 0.0
    """The tokens that its key's limit counts for it until its usage is known."""
    resource: Resource = Resource(method="POST", path="")
    """The method, the canonical path, and the endpoint that they belong to."""
    decoded: bytes | None = None
    """The body without its content-encoding, None if it has none: see `content`."""
    may_go_unread: bool = False
    """Whether a body that we cannot read goes to the teacher all the same: its own client pays for the
    answer (forward mode), or the operator's policy allows it."""
    form_ids: tuple[str, ...] = ()
    """The ids of the objects that its form names; a form is not in `body`."""

    @property
    def content(self) -> bytes:
        """The body to be read; `body` is what is sent."""
        return self.body if self.decoded is None else self.decoded


class Request(IncomingRequest, frozen=True, kw_only=True):
    """A parsed request of the chat, Responses or embeddings API.

    Its facts are read from the body and headers once; nothing is ever written back to them.
    """

    surface: SurfaceName = "chat"
    """The API that it came through; its answer has that API's shape."""

    model: str
    """Empty if the endpoint uses no model, or the gateway cannot read which."""
    messages: tuple[Message, ...]
    template: str
    """Hex hash of the part that an app repeats: model, system messages, tools, forced tool_choice,
    response_format."""
    contract_hash: str
    """Hex hash of the same without the messages: two templates of one task have it in common."""
    template_text: str
    """The text of the template's messages."""
    text: str
    """The part that varies from request to request: all that a specialist ever sees."""

    is_streamed: bool = False
    wants_usage: bool = False
    response_format: bytes = b""
    """The field's JSON; empty when absent, as are `tools` and `tool_choice`."""
    tools: bytes = b""
    tool_choice: bytes = b""
    may_call_in_parallel: bool = True
    wants_json: bool = False
    top_logprobs: int | None = None
    """How many alternatives per token the client wants to see; None for no logprobs at all."""
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    mode: Mode = "auto"
    may_harvest: bool = True
    is_stored: bool = False
    """Whether the teacher would store its answer, told to or by default."""
    is_stored_by_default: bool = False
    """Whether the teacher would store its answer for later requests, without being told to."""
    unsupported_reason: str = ""
    """Why no specialist may answer ("tools", "n > 1"); empty if one may."""

    @property
    def may_begin_early(self) -> bool:
        """Whether a local answer may start before its end is known: plain text only.

        JSON and tool calls are judged whole, and logprobs are not streamed. With `max_tokens`
        the end is unknown too: the teacher would cut in other tokens than ours.
        """
        is_free_text = not (self.wants_json or self.tools or self.top_logprobs is not None)
        return self.is_streamed and is_free_text and self.max_tokens is None

    def draft_request(self, *, is_streamed: bool) -> DraftRequest:
        """Return the input of a specialist; `is_streamed` asks for the beginning before the rest."""
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
    def demands(self) -> Demands:
        """What an answer must look like."""
        return Demands(
            max_tokens=self.max_tokens,
            stop=self.stop,
            response_format=self.response_format,
            tools=self.tools,
            tool_choice=self.tool_choice,
            may_call_in_parallel=self.may_call_in_parallel,
            wants_json=self.wants_json,
            top_logprobs=self.top_logprobs,
            may_begin_early=self.may_begin_early,
        )

    @property
    def form(self) -> str:
        """The form of the conversation: its turns, what it ends with, and the class of its length.

        What was certified on single short questions says nothing of long threads, nor of instructions
        that have the last word.
        """
        # Loops, where generators take three times as long: this runs for every request.
        turns, is_template = 0, False
        for message in self.messages:
            is_template = message.role in _TEMPLATE_ROLES
            turns += not is_template
        turn = "single" if turns <= 1 else "multi"
        if is_template:
            turn += "-instructed"
        length = len(self.text)
        for most, size in _LENGTHS:
            if length <= most:
                return f"{turn}/{size}"
        return f"{turn}/huge"

    @property
    def names_specialist(self) -> bool:
        """Whether the client asked for a specialist by name; the teacher cannot stand in for it."""
        return self.model.startswith(OWN_PREFIX)
