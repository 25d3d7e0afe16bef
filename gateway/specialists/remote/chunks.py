"""The chunks of a streamed completion, as far as a draft needs them."""

from __future__ import annotations

import math

import msgspec


class TopLogprob(msgspec.Struct):
    """One alternative of a token."""

    token: str
    logprob: float


class TokenLogprob(msgspec.Struct):
    """A token of the answer with its alternatives."""

    token: str
    logprob: float
    top_logprobs: list[TopLogprob] | None = None

    def others(self) -> list[float]:
        """Return the logprobs of the alternatives without the token itself, which most servers list too."""
        found = [each.logprob for each in self.top_logprobs or () if each.token != self.token]
        # Two tokens may look alike: halves of a character are shown by the same sign.
        alike = [each.logprob for each in self.top_logprobs or () if each.token == self.token]
        return found + sorted(alike, key=lambda logprob: abs(logprob - self.logprob))[1:]


class Logprobs(msgspec.Struct):
    """The tokens of a chunk: of a chat in `content`, of a completion of tokens in the other three.

    llama.cpp has `content` in both.
    """

    content: list[TokenLogprob] | None = None
    tokens: list[str] = []
    token_logprobs: list[float | None] = []
    top_logprobs: list[dict[str, float] | None] = []

    def list_tokens(self) -> list[TokenLogprob]:
        """Return the tokens in the form of a chat."""
        if self.content is not None:
            return self.content
        tops = [*self.top_logprobs, *[None] * len(self.tokens)]
        return [
            TokenLogprob(token, logprob, [TopLogprob(*each) for each in (top or {}).items()])
            for token, logprob, top in zip(self.tokens, self.token_logprobs, tops, strict=False)
            if logprob is not None
        ]


class Delta(msgspec.Struct):
    """The text of a chunk."""

    content: str | None = None


class Choice(msgspec.Struct):
    """One answer; one is asked for."""

    delta: Delta = msgspec.field(default_factory=Delta)
    text: str | None = None
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class Usage(msgspec.Struct):
    """Tokens as the server counts them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Chunk(msgspec.Struct):
    """One event of the stream."""

    choices: list[Choice] = []
    usage: Usage | None = None
    system_fingerprint: str | None = None
    error: msgspec.Raw | None = None


decode_chunk = msgspec.json.Decoder(Chunk).decode


def margin_of(token: TokenLogprob) -> float:
    """Return the logarithm of the token's probability over that of the likeliest other one.

    Without alternatives the others together stand for it, which no single one can exceed.
    """
    others = token.others()
    rest = max(1.0 - math.exp(min(token.logprob, 0.0)), 1e-9)
    return token.logprob - (max(others) if others else math.log(rest))


def entropy_of(token: TokenLogprob) -> float:
    """Return the entropy in nats; all that the server did not list counts as one more token."""
    listed = [math.exp(min(logprob, 0.0)) for logprob in (token.logprob, *token.others())]
    rest = max(0.0, 1.0 - sum(listed))
    return -sum(share * math.log(share) for share in (*listed, rest) if share > 0.0)
