"""How often a network in training agrees with the teacher, measured before it is exported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.confidence.agreement import measure_loss
from gateway.distill.base import TrainingSet
from gateway.distill.recipes.span.network import import_torch
from gateway.errors import SpecialistError
from gateway.specialists.encoders.minilm import build_tokenizer
from gateway.specialists.runtimes.tagger.decoding import decode_answer
from gateway.specialists.runtimes.tagger.grammar import Grammar, find_spans
from gateway.specialists.runtimes.tagger.runtime import MAX_TOKENS
from gateway.specialists.runtimes.tagger.words import Words, split_words

_BATCH = 32


def measure_agreement(network: Any, grammar: Grammar, rows: TrainingSet) -> float:
    """Return the share of `rows` for which `network` gives the teacher's answer; 0 without rows."""
    reader = build_tokenizer()
    agreement = 0.0
    readable: list[tuple[str, str, Words]] = []
    for text, answer in zip(rows.texts, rows.answers, strict=True):
        try:
            readable.append((text, answer, split_words(text, reader, MAX_TOKENS)))
        except SpecialistError:
            continue
    readable.sort(key=lambda row: len(row[2].ids))
    for start in range(0, len(readable), _BATCH):
        agreement += _sum_agreement(network, grammar, readable[start : start + _BATCH])
    return agreement / max(1, len(rows.texts))


def _sum_agreement(network: Any, grammar: Grammar, rows: Sequence[tuple[str, str, Words]]) -> float:
    torch = import_torch()
    ids = torch.zeros((len(rows), max(len(words.ids) for _, _, words in rows)), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, (_, _, words) in enumerate(rows):
        ids[row, : len(words.ids)] = torch.tensor(words.ids)
        mask[row, : len(words.ids)] = 1
    network.eval()
    with torch.no_grad():
        tags, options = (logits.numpy() for logits in network(ids, mask))
    agreement = 0.0
    for row, (text, answer, words) in enumerate(rows):
        found = decode_answer(grammar, tags[row][words.first_tokens], options[row])
        try:
            draft = grammar.compose_answer(
                text, found.options, find_spans(found.tags, words.starts, words.ends)
            )
        except SpecialistError:
            continue
        agreement += 1.0 - measure_loss(answer, draft)
    return agreement
