"""A random Llama of two small layers with a tokenizer and a chat template: a base in miniature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

WORDS = "where is my lost card please refund the order number one two three four five six seven"
TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def write_checkpoint(folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint into the new `folder`; needs the extra `learn`."""
    torch = pytest.importorskip("torch", reason="needs the extra `learn`")
    transformers = pytest.importorskip("transformers", reason="needs the extra `learn`")
    tokenizer = write_tokenizer(folder)
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.2,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def write_tokenizer(folder: Path, template: str | None = TEMPLATE) -> Any:
    """Write a byte-level tokenizer of 320 pieces into `folder` and return it."""
    transformers = pytest.importorskip("transformers", reason="needs the extra `learn`")
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from tokenizers.trainers import BpeTrainer

    built = Tokenizer(BPE())
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=320,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    built.train_from_iterator([WORDS] * 3, trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=built,
        unk_token=SPECIAL[0],
        bos_token=SPECIAL[1],
        eos_token=SPECIAL[2],
        pad_token=SPECIAL[2],
    )
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return tokenizer
