"""A harvested row, and what sinks and formats of rows must promise."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import IO, Protocol

import msgspec

from gateway.core import Ending, MatchKind

REPEATS = "+"
"""In the id of a row whose request repeats that of another row: before it stands the other's id, and who
forgets that one forgets both."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of the teacher, kept as training data or (held out) as evidence.

    Or one of a specialist that an app complained of, kept for reviewers: see `is_local`.

    `messages` is the JSON array as the client sent it; `text` is what varied, the
    specialist's input. `at` is unix seconds. `propensity` is the probability with which
    the row was to be an audit. `demands` is core.Demands in msgpack, of held-out rows alone: a
    later version is judged by what this client demanded. `ending` is "whole" unless held out or local.
    """

    request_id: str
    at: float
    task: str
    match: MatchKind
    model: str
    template: str
    template_text: str
    contract_hash: str
    text: str
    answer: str
    messages: bytes
    is_held_out: bool
    propensity: float
    ending: Ending = "whole"
    form: str = "single/short"
    demands: bytes = b""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    caller: str = ""
    tenant: str = ""
    is_vouched_for: bool = True
    scope: str = ""
    place: str = ""
    is_lesson: bool = True
    """False: for exports alone, because no specialist could be asked for it, or answer so; or local."""
    policy: str = ""
    user: str = ""
    """Keyed hash of the client's name for its end user; see `hash_user`."""
    expires_at: float | None = None
    """When it must be gone by the rules in force when it was kept; None: they set no limit."""
    tools: bytes = b""
    """The request's JSON, empty when absent, as `response_format`; as the chat API writes them."""
    response_format: bytes = b""
    may_call_in_parallel: bool = True
    reply: bytes = b""
    """The JSON array of the teacher's messages, one per choice, where `answer` does not say all: calls with
    their ids, words beside calls, several choices."""
    draft: str = ""
    """The specialist's answer to the same request, served only if the row is local; empty without one."""
    draft_version: int = 0
    draft_score: float = 0.0
    private_kinds: tuple[str, ...] = ()
    """What is replaced in it before it is written."""
    is_restricted: bool = False
    """Whether the teacher's terms restrict what its answers may be used for."""

    @property
    def is_local(self) -> bool:
        """Whether a specialist answered, with `draft`, and no reviewer has said yet what is right."""
        return self.ending == "none"


def hash_user(user: str, key: bytes) -> str:
    """Return the name under which an end user's rows are kept; empty for no user.

    Keyed, so that a list of known addresses does not tell who wrote these rows.
    """
    if not user:
        return ""
    return blake2b(user.encode("utf-8", "surrogatepass"), digest_size=16, key=key[:64]).hexdigest()


def measure_texts(row: Row) -> int:
    """Return about how many bytes the texts of `row` take."""
    texts = len(row.messages) + len(row.text) + len(row.template_text) + len(row.answer)
    return texts + len(row.tools) + len(row.response_format) + len(row.reply) + len(row.draft)


class Sink(Protocol):
    """Where rows go."""

    def put(self, row: Row) -> bool:
        """Accept `row` without blocking; False when the queue is full and it was dropped."""

    def flush(self) -> None:
        """Return when every accepted row is durable; may block."""

    def close(self) -> None:
        """Flush, then free the file; may block."""


class Format(Protocol):
    """A module of `harvest/formats/`; its file name is the format's name."""

    SUFFIX: str
    """Of the names of its files."""
    LEFT_OUT: str
    """Which rows it cannot hold, as it follows "rows": `without an answer`."""

    def write(self, rows: Iterable[Row], stream: IO[bytes], *, with_held_out: bool = False) -> int:
        """Write `rows` in their order and return how many were written.

        Rows held out as evidence are left out unless asked for: training on them
        voids the certificates. Rows that the format cannot hold are left out too. Reads `rows` once.
        """
