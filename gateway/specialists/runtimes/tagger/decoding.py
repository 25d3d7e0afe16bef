"""The likeliest answer, word by word and field by field, from the outputs of the network."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from gateway.core import Trace
from gateway.specialists.runtimes.tagger.grammar import Grammar
from gateway.specialists.softmax import Logits, log_softmax

_IMPOSSIBLE = -1e9


class DecodedAnswer(msgspec.Struct, frozen=True):
    """The tag of each word, the option of each field that has options, and how sure they are."""

    tags: list[int]
    options: list[int]
    trace: Trace


def decode_answer(grammar: Grammar, tag_logits: Logits, *option_logits: Logits) -> DecodedAnswer:
    """Return the likeliest tags that form whole spans, and the likeliest options.

    `tag_logits` is (words, grammar.tags), each of `option_logits` (>= grammar.options,) an opinion of
    the options; of several the geometric mean counts. The trace has an entry for each word, if there
    are span types, then for each field with options.
    """
    distributions: list[Logits] = []
    tags = [0] * len(tag_logits)
    if grammar.tags > 1:
        logprobs = log_softmax(tag_logits)
        tags = _likeliest_tags(logprobs)
        distributions += list(logprobs)
    tagged = len(distributions)
    at = 0
    for field in grammar.fields:
        if field.options:
            distributions.append(_mean([each[at : at + field.options] for each in option_logits]))
            at += field.options
    options = [int(distribution.argmax()) for distribution in distributions[tagged:]]
    chosen = [*(tags if tagged else ()), *options]
    return DecodedAnswer(tags, options, _trace(distributions, chosen))


def _likeliest_tags(logprobs: Logits) -> list[int]:
    """Return the likeliest sequence (Viterbi) in which I- follows only B- or I- of its own type.

    `logprobs` is (words, tags), numbered as in Grammar: 0 is O, odd tags are B-, even ones I-.
    """
    score = logprobs[0].copy()
    score[2::2] = _IMPOSSIBLE
    origins = []
    every_tag = np.arange(len(score))
    for row in logprobs[1:]:
        origin = np.full(len(score), int(score.argmax()))
        begin, inside = every_tag[1::2], every_tag[2::2]
        origin[2::2] = np.where(score[1::2] >= score[2::2], begin, inside)
        origins.append(origin)
        score = score[origin] + row
    tags = [int(score.argmax())]
    for origin in reversed(origins):
        tags.append(int(origin[tags[-1]]))
    return tags[::-1]


def _mean(opinions: Sequence[Logits]) -> Logits:
    """Return the log-probabilities of the normalized geometric mean of `opinions`, (options,) each."""
    if len(opinions) == 1:
        return log_softmax(opinions[0])
    return log_softmax(np.mean([log_softmax(each) for each in opinions], axis=0))


def _trace(distributions: list[Logits], chosen: list[int]) -> Trace:
    logprobs, margins, entropies = [], [], []
    for distribution, index in zip(distributions, chosen, strict=True):
        logprob = float(distribution[index])
        logprobs.append(logprob)
        margins.append(logprob - float(np.delete(distribution, index).max()))
        entropies.append(float(-(np.exp(distribution) * distribution).sum()))
    return Trace(tuple(logprobs), tuple(margins), tuple(entropies))
