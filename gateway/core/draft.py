"""What a specialist is asked, and what it says before anybody decided to use it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Literal, Protocol

import msgspec

FinishReason = Literal["stop", "length"]


class DraftRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What varies from request to request, and what the client demands of the answer's form.

    `max_tokens` counts the specialist's own tokens. `top_logprobs` is None when no logprobs
    are wanted. `response_format` and `tools` are the request's JSON, empty when absent.
    """

    text: str
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    response_format: bytes = b""
    tools: bytes = b""
    top_logprobs: int | None = None
    is_streamed: bool = False
    seed: int | None = None


class Trace(msgspec.Struct, frozen=True, array_like=True):
    """How sure a model was of each step of its answer; the three have one entry a step.

    Natural logarithms: of the chosen token's probability, of its ratio to the runner-up's, and
    the entropy of the whole distribution in nats. A tagger's steps are its decisions.
    """

    logprobs: tuple[float, ...]
    margins: tuple[float, ...]
    entropies: tuple[float, ...]


class Token(msgspec.Struct, frozen=True, array_like=True):
    """One token of an answer for a client who asked for logprobs; `top` is best first."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


class DraftStream(Protocol):
    """What follows a draft's text while it is still being written; read once, by one task.

    Raises SpecialistError when the specialist broke off.
    """

    finish_reason: FinishReason
    completion_tokens: int
    """Both are valid once the last piece was read."""

    def __aiter__(self) -> DraftStream: ...

    def __anext__(self) -> Awaitable[str]: ...

    async def aclose(self) -> None:
        """Have the specialist stop; a second call does nothing."""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A specialist's answer before anybody decided to use it.

    `score` is uncalibrated, 0..1, higher is surer; `evidence` and `trace` hold what it was
    made from. With a `stream` the text is only the beginning, and the score speaks of the whole.
    """

    text: str
    score: float
    task: str
    version: int
    latency_ms: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    evidence: dict[str, float] = {}
    trace: Trace | None = None
    tokens: tuple[Token, ...] = ()
    finish_reason: FinishReason = "stop"
    stream: DraftStream | None = None


class Deferral(msgspec.Struct, frozen=True):
    """How a version's score is made: a logistic function of weighted confidence signals."""

    bias: float
    weights: dict[str, float]
