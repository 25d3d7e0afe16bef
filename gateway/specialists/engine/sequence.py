"""One answer in progress: its tokens, how sure each was, and the replies that are due."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from gateway.core import FinishReason, Token, Trace
from gateway.specialists.base import Prediction
from gateway.specialists.engine.prompt import Prompter
from gateway.specialists.engine.protocol import EngineReply, Generate
from gateway.specialists.protocol import Drafted, Opened, Piece

_UNFINISHED = "\ufffd"
"""A tokenizer shows it for half of a character."""


class Step(msgspec.Struct, frozen=True):
    """The model's certainty of one token; natural logarithms, as in core.Trace."""

    logprob: float
    margin: float
    entropy: float


class Sequence:
    """Takes the tokens of one row and returns the replies that are due."""

    def __init__(
        self,
        request: Generate,
        prompt: list[int],
        max_new_tokens: int,
        prompter: Prompter,
        end_tokens: frozenset[int],
    ) -> None:
        self.request = request
        self.prompt = prompt
        self.max_new_tokens = min(max_new_tokens, request.draft_request.max_tokens or max_new_tokens)
        self.is_over = False
        self._prompter = prompter
        self._end_tokens = end_tokens
        self._ids: list[int] = []
        self._text = ""
        self._sent_chars = 0
        self._has_opened = False
        self._steps: list[Step] = []
        self._tokens: list[Token] = []
        self._is_streamed = request.draft_request.is_streamed and request.hold_back is not None
        # A stop string may have begun: so many characters at the end are not sent yet.
        self._unsafe_chars = max((len(stop) for stop in request.draft_request.stop), default=0)

    def add_token(self, token: int, step: Step, logits: NDArray[np.float32]) -> list[EngineReply]:
        """Add the next token, chosen from `logits` (vocabulary,); return the replies to send now."""
        draft_request = self.request.draft_request
        self._steps.append(step)
        if token in self._end_tokens:
            return self._finish("stop")
        self._ids.append(token)
        if draft_request.top_logprobs is not None:
            self._tokens.append(self._describe(token, step.logprob, logits, draft_request.top_logprobs))
        if draft_request.stop or self._is_streamed:
            self._text = self._prompter.decode_text(self._ids)
        stops = [place for stop in draft_request.stop if stop and (place := self._text.find(stop)) >= 0]
        if stops:
            return self._finish("stop", self._text[: min(stops)])
        if len(self._ids) >= self.max_new_tokens:
            return self._finish("length")
        return self._next_piece() if self._is_streamed else []

    def _finish(self, reason: FinishReason, text: str | None = None) -> list[EngineReply]:
        self.is_over = True
        self._text = self._prompter.decode_text(self._ids) if text is None else text
        replies: list[EngineReply] = []
        if self._has_opened and self._sent_chars < len(self._text):
            replies.append(Piece(self.request.id, self._text[self._sent_chars :]))
        replies.append(Drafted(self.request.id, self._predict(self._text, reason)))
        return replies

    def _next_piece(self) -> list[EngineReply]:
        """Return the piece that may be sent now; a stop string or half a character is held back."""
        hold_back = self.request.hold_back
        if hold_back is None or len(self._ids) < hold_back:
            return []
        end = len(self._text.rstrip(_UNFINISHED)) - self._unsafe_chars
        if end <= self._sent_chars:
            return []
        piece, self._sent_chars = self._text[self._sent_chars : end], end
        if self._has_opened:
            return [Piece(self.request.id, piece)]
        self._has_opened = True
        return [Opened(self.request.id, self._predict(piece, "stop"))]

    def _predict(self, text: str, reason: FinishReason) -> Prediction:
        # One certificate covers streamed and whole answers: both are scored by their beginning.
        steps = self._steps[: self.request.hold_back]
        logprobs = tuple(step.logprob for step in steps)
        return Prediction(
            text=text,
            score=math.exp(min(logprobs)),
            evidence={"min_logprob": min(logprobs), "mean_logprob": sum(logprobs) / len(logprobs)},
            trace=Trace(
                logprobs, tuple(step.margin for step in steps), tuple(step.entropy for step in steps)
            ),
            tokens=tuple(self._tokens),
            finish_reason=reason,
            completion_tokens=len(self._ids),
            prompt_tokens=len(self.prompt),
        )

    def _describe(self, token: int, logprob: float, logits: NDArray[np.float32], top: int) -> Token:
        """Return a token as the client sees it, with its `top` alternatives."""
        shift = logprob - float(logits[token])
        best = np.argsort(logits)[::-1][:top]
        alternatives = tuple((self._prompter.decode_token(int(i)), float(logits[i]) + shift) for i in best)
        return Token(self._prompter.decode_token(token), logprob, alternatives)
