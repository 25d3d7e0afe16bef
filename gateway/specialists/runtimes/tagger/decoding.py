"""What a tagger decides, word by word and field by field, from the network's outputs."""

from __future__ import annotations

import msgspec
import numpy as np

from gateway.core import Trace
from gateway.specialists.runtimes.tagger.grammar import Grammar
from gateway.specialists.softmax import Logits, log_softmax

_IMPOSSIBLE = -1e9


class Decisions(msgspec.Struct, frozen=True):
    """The tag of each word, the option of each field which has options, and how sure they are."""

    tags: list[int]
    options: list[int]
    trace: Trace


def decide(grammar: Grammar, tag_logits: Logits, option_logits: Logits) -> Decisions:
    """Return the likeliest decisions which make sense.

    `tag_logits` is (words, grammar.tags), `option_logits` (>= grammar.options,). The trace has
    an entry for each word, if there are marks, then for each field with options.
    """
    parts: list[Logits] = []
    tags = [0] * len(tag_logits)
    chosen: list[int] = []
    if grammar.tags > 1:
        logprobs = log_softmax(tag_logits)
        tags = _likeliest(logprobs)
        parts += list(logprobs)
    at = 0
    for field in grammar.fields:
        if field.options:
            parts.append(log_softmax(option_logits[None, at : at + field.options])[0])
            at += field.options
    first = len(parts) - sum(bool(field.options) for field in grammar.fields)
    chosen = [int(part.argmax()) for part in parts[first:]]
    decided = [*(tags if first else ()), *chosen]
    return Decisions(tags, chosen, _trace(parts, decided))


def _likeliest(logprobs: Logits) -> list[int]:
    """Return the likeliest tags (Viterbi) where a further word follows a word of its own mark.

    `logprobs` is (words, tags): 0 none, odd the first word of a mark, even a further one.
    """
    score = logprobs[0].copy()
    score[2::2] = _IMPOSSIBLE
    came_from = []
    every = np.arange(len(score))
    for row in logprobs[1:]:
        origin = np.full(len(score), int(score.argmax()))
        firsts, further = every[1::2], every[2::2]
        origin[2::2] = np.where(score[1::2] >= score[2::2], firsts, further)
        came_from.append(origin)
        score = score[origin] + row
    tags = [int(score.argmax())]
    for origin in reversed(came_from):
        tags.append(int(origin[tags[-1]]))
    return tags[::-1]


def _trace(parts: list[Logits], decided: list[int]) -> Trace:
    logprobs, margins, entropies = [], [], []
    for part, index in zip(parts, decided, strict=True):
        mine = float(part[index])
        logprobs.append(mine)
        margins.append(mine - float(np.delete(part, index).max()))
        entropies.append(float(-(np.exp(part) * part).sum()))
    return Trace(tuple(logprobs), tuple(margins), tuple(entropies))
