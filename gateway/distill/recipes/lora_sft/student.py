"""A student which learns: a frozen base and the low-rank adapter which is trained on it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.distill.base_models.dequantize import load_student
from gateway.distill.recipes.lora_sft.dataset import Example, parts

MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_READ_TOGETHER = 1024
"""Tokens, padding included, which a step holds in memory at once: 2 MB each while learning."""
_KEPT = 256
"""Tokens of a row up to which every layer's activations are kept while learning."""
SCALE = 2.0
"""What the product of an adapter is multiplied with (alpha over rank)."""


class Student:
    """The base of `folder` with an adapter of `rank`, whose state is kept as safetensors.

    Both compute in bfloat16, which the int4 weights outdo by far in coarseness: 16 rows of 42 tokens
    take 1.5 s of CPU; 2.2 with the adapter in float32, 6.7 with all of it. The adapter's weights
    and their optimiser stay float32, as small steps would be lost otherwise.
    """

    def __init__(self, folder: Path, rank: int, seed: int) -> None:
        # oneDNN keeps what it compiled for each of 1,024 shapes, and every step has new ones: 1.3 GB after
        # a hundred steps. It reads this when it is first used; with 16 a step recompiled its own.
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
        import torch
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(seed)
        base = load_student(folder).to(torch.bfloat16)
        # Its flash attention walks backwards 27 ms a layer on a CPU; the plain one a few.
        base.set_attn_implementation("eager")
        base.config.use_cache = False
        config = LoraConfig(
            r=rank, lora_alpha=SCALE * rank, target_modules=list(MODULES), task_type="CAUSAL_LM"
        )
        self.model: Any = get_peft_model(base, config).train()

    @property
    def trained(self) -> list[Any]:
        """The parameters which learn."""
        return [weights for weights in self.model.parameters() if weights.requires_grad]

    def learn(self, rows: Sequence[Example]) -> None:
        """Add the gradient of the mean cross-entropy of the answers' tokens, whatever their lengths."""
        import torch

        tokens = sum(len(row.answer) for row in rows)
        for part in parts(rows, _READ_TOGETHER):
            self._recompute(is_on=len(part[-1]) > _KEPT)
            logits, labels = self._read(part)
            loss = torch.nn.functional.cross_entropy(logits, labels[labels >= 0], reduction="sum")
            (loss / tokens).backward()

    def agreement(self, rows: Sequence[Example]) -> float:
        """Return the share of `rows` whose whole answer greedy decoding would give.

        Without decoding: it gives the teacher's answer exactly when every token of that is the
        most probable one after those before it.
        """
        import torch

        right = 0
        with torch.no_grad():
            for part in parts(rows, _READ_TOGETHER):
                logits, labels = self._read(part)
                is_wrong = torch.zeros(labels.shape, dtype=torch.bool)
                is_wrong[labels >= 0] = logits.argmax(-1) != labels[labels >= 0]
                right += int((~is_wrong.any(dim=1)).sum())
        return right / len(rows) if rows else 0.0

    def state(self) -> dict[str, Any]:
        """Return the adapter's weights by name, detached copies."""
        return {
            name: weights.detach().clone()
            for name, weights in self.model.named_parameters()
            if weights.requires_grad
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Put an adapter's weights back."""
        self.model.load_state_dict(state, strict=False)

    def _recompute(self, *, is_on: bool) -> None:
        """Have layers computed twice instead of kept: attention takes memory by the square of a row."""
        inner = self.model.base_model.model
        if is_on:
            inner.gradient_checkpointing_enable({"use_reentrant": False})
        else:
            inner.gradient_checkpointing_disable()

    def _read(self, rows: Sequence[Example]) -> tuple[Any, Any]:
        """Return the logits (answer tokens, vocabulary) and the labels as `_padded` has them."""
        import torch
        from peft.helpers import disable_input_dtype_casting

        ids, mask, labels = _padded(rows)
        inner = self.model.base_model.model
        with torch.autocast("cpu", torch.bfloat16), disable_input_dtype_casting(self.model):
            hidden = inner.model(input_ids=ids, attention_mask=mask).last_hidden_state
            # The vocabulary is a fifth of the work: only where an answer's token is to be predicted.
            logits = inner.lm_head(hidden[labels >= 0])
        return logits.float(), labels


def _padded(rows: Sequence[Example]) -> tuple[Any, Any, Any]:
    """Return (rows, width) ids, mask, and labels: the next token where it is the answer's, else -1."""
    import torch

    width = max(len(row) for row in rows)
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -1)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row.prompt + row.answer)
        mask[index, : len(row)] = 1
        labels[index, len(row.prompt) - 1 : len(row) - 1] = torch.tensor(row.answer)
    return ids, mask, labels
