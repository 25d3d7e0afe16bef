"""A draft: what a specialist is asked, and what it answers before the decision to serve it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Literal, Protocol

import msgspec

FinishReason = Literal["stop", "length"]


class DraftRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The input of a specialist: the text that varies, and the form that the client demands.

    `max_tokens` counts the specialist's own tokens. `top_logprobs` is None if the client wants
    no logprobs. `response_format` and `tools` are the request's JSON, empty when absent.
    """

    text: str
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    response_format: bytes = b""
    tools: bytes = b""
    top_logprobs: int | None = None
    is_streamed: bool = False
    seed: int | None = None


class Demands(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What the client demands of an answer's form; a draft that breaks one of them is never served.

    JSON fields are as sent, empty when absent. Kept beside evidence, so that a later version is
    judged by the same demands.
    """

    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    response_format: bytes = b""
    tools: bytes = b""
    tool_choice: bytes = b""
    may_call_in_parallel: bool = True
    wants_json: bool = False
    top_logprobs: int | None = None
    may_begin_early: bool = False


class Trace(msgspec.Struct, frozen=True, array_like=True):
    """How sure the model was at each step of its answer; all three have one entry per step.

    A step is a token, or a decision of a tagger. Natural logarithms: of the chosen token's
    probability, of its ratio to the runner-up's; and the entropy of the distribution in nats.
    """

    logprobs: tuple[float, ...]
    margins: tuple[float, ...]
    entropies: tuple[float, ...]


class Token(msgspec.Struct, frozen=True, array_like=True):
    """One token of the answer, for a client that asked for logprobs; `top` is sorted, best first."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


class DraftStream(Protocol):
    """The pieces of text after a draft's beginning, as they are written; read once, by one task.

    Raises SpecialistError if the specialist breaks off.
    """

    finish_reason: FinishReason
    """Valid after the last piece was read, as is `completion_tokens`."""
    completion_tokens: int

    def __aiter__(self) -> DraftStream: ...

    def __anext__(self) -> Awaitable[str]: ...

    async def aclose(self) -> None:
        """Stop the specialist; a second call does nothing."""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A specialist's answer before the decision to serve it.

    `score` is uncalibrated, 0..1, higher is surer; it is made from `evidence` and `trace`. With a
    `stream`, `text` is only the beginning, and the score still speaks for the whole answer.
    """

    text: str
    score: float
    task: str
    version: int
    latency_ms: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    teacher_tokens: int = 0
    """The most tokens that the teacher was seen to take for this very answer; 0 if that is not known."""
    evidence: dict[str, float] = {}
    trace: Trace | None = None
    tokens: tuple[Token, ...] = ()
    finish_reason: FinishReason = "stop"
    stream: DraftStream | None = None
    is_learnt: bool = False
    """Whether its version has learnt this very text."""

    @property
    def similarity(self) -> float | None:
        """How near the text lies to what was learnt, -1 to 1; None if unknown, or a first stage drafted."""
        return self.evidence.get("similarity")

    @property
    def is_first_stage(self) -> bool:
        """Whether a head's first stage made it, from words alone."""
        return "first_stage" in self.evidence


class Deferral(msgspec.Struct, frozen=True):
    """The deferral head of a version: it scores a draft by a logistic function of weighted signals.

    The keys of `weights` are names of confidence signals.
    """

    bias: float
    weights: dict[str, float]
