"""One answer in the making: its tokens, how sure each was, and what of it may be said already."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gateway.core import FinishReason, Token, Trace
from gateway.specialists.base import Prediction
from gateway.specialists.engine.prompt import Prompter
from gateway.specialists.engine.protocol import Drafted, FromEngine, Generate, Opened, Piece

_UNFINISHED = "\ufffd"
"""What a tokenizer shows for half of a character."""


class Sequence:
    """Takes a row's tokens in and says what there is to say."""

    def __init__(
        self, order: Generate, prompt: list[int], room: int, prompter: Prompter, ends: frozenset[int]
    ) -> None:
        self.order = order
        self.prompt = prompt
        self.room = min(room, order.draft_request.max_tokens or room)
        self.is_over = False
        self._prompter = prompter
        self._ends = ends
        self._ids: list[int] = []
        self._text = ""
        self._said = 0
        self._has_begun = False
        self._steps: list[tuple[float, float, float]] = []
        self._tokens: list[Token] = []
        self._is_heard = order.draft_request.is_streamed and order.hold_back is not None
        self._lag = max((len(stop) for stop in order.draft_request.stop), default=0)

    def take(
        self, token: int, sure: tuple[float, float, float], logits: NDArray[np.float32]
    ) -> list[FromEngine]:
        """Take the next token with its logprob, margin and entropy; return what is to be sent now."""
        draft_request = self.order.draft_request
        self._steps.append(sure)
        if token in self._ends:
            return self._finished("stop")
        self._ids.append(token)
        if draft_request.top_logprobs is not None:
            self._tokens.append(self._token(token, sure[0], logits, draft_request.top_logprobs))
        if draft_request.stop or self._is_heard:
            self._text = self._prompter.decode_text(self._ids)
        places = [place for stop in draft_request.stop if stop and (place := self._text.find(stop)) >= 0]
        if places:
            return self._finished("stop", self._text[: min(places)])
        if len(self._ids) >= self.room:
            return self._finished("length")
        return self._pieces() if self._is_heard else []

    def _finished(self, reason: FinishReason, text: str | None = None) -> list[FromEngine]:
        self.is_over = True
        self._text = self._prompter.decode_text(self._ids) if text is None else text
        messages: list[FromEngine] = []
        if self._has_begun and self._said < len(self._text):
            messages.append(Piece(self.order.id, self._text[self._said :]))
        messages.append(Drafted(self.order.id, self._proposal(self._text, reason)))
        return messages

    def _pieces(self) -> list[FromEngine]:
        """Return what a streamed order may hear now: a stop string or half a character is held back."""
        hold_back = self.order.hold_back
        if hold_back is None or len(self._ids) < hold_back:
            return []
        end = len(self._text.rstrip(_UNFINISHED)) - self._lag
        if end <= self._said:
            return []
        piece, self._said = self._text[self._said : end], end
        if self._has_begun:
            return [Piece(self.order.id, piece)]
        self._has_begun = True
        return [Opened(self.order.id, self._proposal(piece, "stop"))]

    def _proposal(self, text: str, reason: FinishReason) -> Prediction:
        # One certificate covers streamed and whole answers: both are scored by their beginning.
        steps = self._steps[: self.order.hold_back]
        logprobs = tuple(step[0] for step in steps)
        return Prediction(
            text=text,
            score=math.exp(min(logprobs)),
            evidence={"min_logprob": min(logprobs), "mean_logprob": sum(logprobs) / len(logprobs)},
            trace=Trace(logprobs, tuple(step[1] for step in steps), tuple(step[2] for step in steps)),
            tokens=tuple(self._tokens),
            finish_reason=reason,
            completion_tokens=len(self._ids),
            prompt_tokens=len(self.prompt),
        )

    def _token(self, token: int, logprob: float, logits: NDArray[np.float32], top: int) -> Token:
        level = logprob - float(logits[token])
        best = np.argsort(logits)[::-1][:top]
        said = tuple((self._prompter.decode_token(int(i)), float(logits[i]) + level) for i in best)
        return Token(self._prompter.decode_token(token), logprob, said)
