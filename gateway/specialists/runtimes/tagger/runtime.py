"""A fine-tuned encoder that tags the answer's values in the input and chooses the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from tokenizers import Tokenizer

from gateway.core import DraftRequest
from gateway.errors import RegistryError
from gateway.registry.files import read_json
from gateway.specialists import knn
from gateway.specialists.answer_tokens import read_answer_tokens
from gateway.specialists.base import Encoder, Listener, Prediction
from gateway.specialists.knn import NearestNeighbors
from gateway.specialists.onnx_encoder import open_session
from gateway.specialists.runtimes.tagger.decoding import decode_answer
from gateway.specialists.runtimes.tagger.grammar import Grammar, find_spans
from gateway.specialists.runtimes.tagger.lesson_drafts import LessonDraft, LessonDrafts, read_lesson_drafts
from gateway.specialists.runtimes.tagger.option_head import OptionHead, read_option_head
from gateway.specialists.runtimes.tagger.words import Words, split_words
from gateway.specialists.shared_resources import SharedResources
from gateway.specialists.softmax import Logits
from gateway.specialists.tokenization import open_tokenizer

MODEL = "model.onnx"
GRAMMAR = "grammar.json"
TOKENIZER = "tokenizer.json"
MAX_TOKENS = 256
"""The length that MiniLM was trained for; longer inputs are refused."""


def write_grammar(grammar: Grammar, tokenizer: Tokenizer, folder: Path) -> None:
    """Write grammar.json and tokenizer.json into `folder`."""
    (folder / GRAMMAR).write_bytes(msgspec.json.encode(grammar))
    tokenizer.save(str(folder / TOKENIZER))


def create(folder: Path, resources: SharedResources) -> TaggerRuntime:
    """Return the runtime for the tagger in `folder`. Raises RegistryError naming the file."""
    neighbors = knn.read_neighbors(folder, resources.encoder.dimension)
    grammar = read_json(folder / GRAMMAR, Grammar)
    tokenizer = open_tokenizer(folder / TOKENIZER)
    network = Network(folder / MODEL)
    if network.sizes != (grammar.tags, max(1, grammar.options)):
        raise RegistryError(
            f"{folder / MODEL} has {network.sizes} tags and options, its grammar "
            f"{grammar.tags} and {grammar.options}"
        )
    head = read_option_head(folder, resources.encoder.dimension, grammar.options)
    tokens = read_answer_tokens(folder, grammar.options) if grammar.is_choice else ()
    return TaggerRuntime(
        grammar,
        tokenizer,
        network,
        neighbors,
        resources.encoder,
        option_head=head,
        answer_tokens=tokens,
        known=read_lesson_drafts(folder),
    )


class Network:
    """The ONNX model: (tags, options) logits of one input.

    One text per run: dynamic int8 quantization takes its scale from the whole batch, so an
    answer would depend on its neighbors in the batch.
    """

    def __init__(self, path: Path) -> None:
        """Raise RegistryError if `path` is no tagger."""
        self._session = open_session(path)
        outputs = {node.name for node in self._session.get_outputs()}
        if not outputs >= {"tags", "options"}:
            raise RegistryError(f"{path} is no tagger: its outputs are {', '.join(sorted(outputs))}")
        self.sizes = tuple(logits.shape[-1] for logits in self.run(Words([0], [0], [0], [1])))

    def run(self, words: Words) -> tuple[Logits, Logits]:
        """Return (words, tags) and (options,) logits; thread-safe."""
        ids = np.array([words.ids], np.int64)
        tags, options = self._session.run(
            ["tags", "options"], {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        )
        return tags[0][words.first_tokens], options[0]


class TaggerRuntime:
    """Drafts the answer that the likeliest tags and options compose."""

    is_remote = False

    def __init__(
        self,
        grammar: Grammar,
        tokenizer: Tokenizer,
        network: Network,
        neighbors: NearestNeighbors,
        encoder: Encoder,
        *,
        option_head: OptionHead | None = None,
        answer_tokens: Sequence[int] = (),
        known: LessonDrafts | None = None,
    ) -> None:
        """`option_head` judges the options beside the network.

        `answer_tokens`, (options,), are what the teacher took where the answer is one choice. `known`
        are this tagger's drafts of texts that it need not draft again.
        """
        self._grammar = grammar
        self._tokenizer = tokenizer
        self._network = network
        self._neighbors = neighbors
        self._encoder = encoder
        self._option_head = option_head
        self._answer_tokens = answer_tokens
        self._known = known or LessonDrafts()

    def draft(self, draft_request: DraftRequest, listener: Listener) -> Prediction:
        """Return the likeliest answer; thread-safe, the same numbers for the same text.

        `score` is the product of the probabilities of all decisions; `evidence` adds
        `min_logprob` and `similarity`. Raises SpecialistError if the input is empty,
        unreadable or too long, or if the tagged spans make no answer.
        """
        text = draft_request.text
        draft = self._known.find(text) or self.draft_anew(text)
        logprobs = draft.trace.logprobs
        return Prediction(
            text=self._grammar.compose_answer(text, draft.options, draft.spans),
            score=math.exp(sum(logprobs)),
            teacher_tokens=self._answer_tokens[draft.options[0]] if self._answer_tokens else 0,
            evidence={"min_logprob": min(logprobs, default=0.0), "similarity": draft.similarity},
            trace=draft.trace,
            prompt_tokens=draft.prompt_tokens,
        )

    def draft_anew(self, text: str) -> LessonDraft:
        """Return the decisions about `text`, computed. Raises SpecialistError as `draft` does."""
        words = split_words(text, self._tokenizer, MAX_TOKENS)
        embedding = np.asarray(self._encoder.encode(text), np.float32)
        tags, *opinions = self._network.run(words)
        if self._option_head:
            opinions.append(self._option_head.judge_options(text, embedding))
        decoded = decode_answer(self._grammar, tags, *opinions)
        return LessonDraft(
            options=decoded.options,
            spans=find_spans(decoded.tags, words.starts, words.ends),
            trace=decoded.trace,
            similarity=self._neighbors.similarity(embedding),
            prompt_tokens=len(words.ids),
        )

    def close(self) -> None:
        """Do nothing: memory is all that it holds."""
