"""One answer in progress on a server: its text, how sure each token was, and what the listener must hear."""

from __future__ import annotations

import math

from gateway.core import DraftRequest, FinishReason, Token, Trace
from gateway.errors import SpecialistError
from gateway.specialists.base import Listener, Prediction
from gateway.specialists.remote.chunks import Chunk, TokenLogprob, Usage, entropy_of, margin_of


class Answer:
    """Takes the chunks of one completion; scored as the local decoder's answers are.

    With `hold_back`, the score speaks of the first so many tokens, and a streamed answer opens with them.
    """

    def __init__(self, draft_request: DraftRequest, hold_back: int | None, listener: Listener) -> None:
        self._top = draft_request.top_logprobs
        self._hold_back = hold_back
        self._listener = listener
        self._is_streamed = draft_request.is_streamed and hold_back is not None
        self._text = ""
        self._tokens: list[TokenLogprob] = []
        self._finish_reason: str | None = None
        self._usage = Usage()
        self.has_begun = False
        """Whether anything of it has come: no other server can answer any more."""
        self._has_opened = False

    def add_chunk(self, chunk: Chunk) -> None:
        """Add the next chunk. Raises SpecialistError("specialist failed") if it is an error."""
        self.has_begun = True
        if chunk.error is not None:
            raise SpecialistError("specialist failed", "the server broke off")
        self._usage = chunk.usage or self._usage
        for choice in chunk.choices[:1]:
            if choice.logprobs:
                self._tokens += choice.logprobs.list_tokens()
            self._finish_reason = choice.finish_reason or self._finish_reason
            self._add_text(choice.delta.content or choice.text or "")

    def finish(self) -> Prediction:
        """Return the prediction. Raises SpecialistError if it is cut, unmeasured or of another kind."""
        match self._finish_reason:
            case "stop" | "length" as reason:
                return self._predict(self._text, reason)
            case None:
                raise SpecialistError("specialist failed", "the stream ended in the middle")
            case other:
                raise SpecialistError("engine refused", f"finish_reason {other!r}")

    def _add_text(self, piece: str) -> None:
        self._text += piece
        if not (self._is_streamed and piece):
            return
        if self._has_opened:
            self._listener.on_piece(piece)
        elif self._hold_back is not None and len(self._tokens) >= self._hold_back:
            self._has_opened = True
            self._listener.on_opening(self._predict(self._text, "stop"))

    def _predict(self, text: str, reason: FinishReason) -> Prediction:
        if not self._tokens:
            raise SpecialistError("no logprobs", "the server gives none")
        # One certificate covers streamed and whole answers: both are scored by their beginning.
        scored = self._tokens[: self._hold_back]
        logprobs = tuple(token.logprob for token in scored)
        return Prediction(
            text=text,
            score=math.exp(min(0.0, *logprobs)),
            evidence={"min_logprob": min(logprobs), "mean_logprob": sum(logprobs) / len(logprobs)},
            trace=Trace(logprobs, tuple(map(margin_of, scored)), tuple(map(entropy_of, scored))),
            tokens=tuple(map(self._describe, self._tokens)) if self._top is not None else (),
            finish_reason=reason,
            completion_tokens=self._usage.completion_tokens or len(self._tokens),
            prompt_tokens=self._usage.prompt_tokens,
        )

    def _describe(self, token: TokenLogprob) -> Token:
        """Return a token as the client sees it, with as many alternatives as it asked for."""
        top = sorted(
            ((each.token, each.logprob) for each in token.top_logprobs or ()), key=lambda one: -one[1]
        )
        return Token(token.token, token.logprob, tuple(top[: self._top]))
