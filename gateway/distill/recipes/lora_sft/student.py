"""A student in training: a frozen base, and the low-rank adapter that is trained on it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.distill.base_models.dequantize import load_student
from gateway.distill.recipes.lora_sft.dataset import TokenizedRow, split_by_tokens

MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_TOKENS_AT_ONCE = 1024
"""Tokens, padding included, that a step holds in memory at once: 2 MB each in training."""
_KEPT = 256
"""Tokens of a row up to which the activations of every layer are kept in training."""
SCALE = 2.0
"""The factor of an adapter's product (alpha over rank)."""


def lora_config(rank: int) -> Any:
    """Return PEFT's description of an adapter of `rank`."""
    from peft import LoraConfig

    return LoraConfig(r=rank, lora_alpha=SCALE * rank, target_modules=list(MODULES), task_type="CAUSAL_LM")


class Student:
    """The base in `folder` with an adapter of `rank`.

    Both compute in bfloat16: the error of the int4 weights is much larger than its rounding. 16 rows
    of 42 tokens take 1.5 s of CPU; 2.2 with the adapter in float32, 6.7 with all of it. The adapter's
    weights and their optimizer stay float32, as small steps would be lost otherwise.
    """

    def __init__(self, folder: Path, rank: int, seed: int) -> None:
        # oneDNN keeps the code that it compiled for each of 1,024 shapes, and every step has new ones:
        # 1.3 GB after a hundred steps. It reads this at its first use; with 16 a step recompiled its own.
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
        import torch
        from peft import get_peft_model

        torch.manual_seed(seed)
        base = load_student(folder).to(torch.bfloat16)
        # On CPU its flash-attention backward takes 27 ms per layer, eager a few.
        base.set_attn_implementation("eager")
        base.config.use_cache = False
        self.model: Any = get_peft_model(base, lora_config(rank)).train()

    @property
    def trained(self) -> list[Any]:
        """The parameters in training: those of the adapter."""
        return [weights for weights in self.model.parameters() if weights.requires_grad]

    def learn(self, rows: Sequence[TokenizedRow]) -> None:
        """Add the gradient of the mean cross-entropy over all answer tokens of `rows`."""
        import torch

        tokens = sum(len(row.answer) for row in rows)
        for part in split_by_tokens(rows, _TOKENS_AT_ONCE):
            self._set_recomputing(is_on=len(part[-1]) > _KEPT)
            logits, labels = self._predict(part)
            loss = torch.nn.functional.cross_entropy(logits, labels[labels >= 0], reduction="sum")
            (loss / tokens).backward()

    def measure_agreement(self, rows: Sequence[TokenizedRow]) -> float:
        """Return the share of `rows` for which greedy decoding would give the whole answer; 0 of none.

        Nothing is decoded: greedy decoding gives the teacher's answer exactly when each of its
        tokens is the most probable one after those before it.
        """
        import torch

        right = 0
        with torch.no_grad():
            for part in split_by_tokens(rows, _TOKENS_AT_ONCE):
                logits, labels = self._predict(part)
                is_wrong = torch.zeros(labels.shape, dtype=torch.bool)
                is_wrong[labels >= 0] = logits.argmax(-1) != labels[labels >= 0]
                right += int((~is_wrong.any(dim=1)).sum())
        return right / len(rows) if rows else 0.0

    def copy_weights(self) -> dict[str, Any]:
        """Return the adapter's weights by name, detached copies."""
        return {
            name: weights.detach().clone()
            for name, weights in self.model.named_parameters()
            if weights.requires_grad
        }

    def load_weights(self, weights: dict[str, Any]) -> None:
        """Replace the adapter's weights by those of `copy_weights`."""
        self.model.load_state_dict(weights, strict=False)

    def _set_recomputing(self, *, is_on: bool) -> None:
        """Compute layers twice instead of keeping them: attention takes memory by the square of a row."""
        inner = self.model.base_model.model
        if is_on:
            inner.gradient_checkpointing_enable({"use_reentrant": False})
        else:
            inner.gradient_checkpointing_disable()

    def _predict(self, rows: Sequence[TokenizedRow]) -> tuple[Any, Any]:
        """Return the (answer tokens, vocabulary) logits, and the labels of `_pad`."""
        import torch
        from peft.helpers import disable_input_dtype_casting

        ids, mask, labels = _pad(rows)
        inner = self.model.base_model.model
        with torch.autocast("cpu", torch.bfloat16), disable_input_dtype_casting(self.model):
            hidden = inner.model(input_ids=ids, attention_mask=mask).last_hidden_state
            # The vocabulary is a fifth of the work: only where a token of the answer comes next.
            logits = inner.lm_head(hidden[labels >= 0])
        return logits.float(), labels


def _pad(rows: Sequence[TokenizedRow]) -> tuple[Any, Any, Any]:
    """Return (rows, width) ids, mask and labels: the next token where it is the answer's, else -1."""
    import torch

    width = max(len(row) for row in rows)
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -1)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row.prompt + row.answer)
        mask[index, : len(row)] = 1
        labels[index, len(row.prompt) - 1 : len(row) - 1] = torch.tensor(row.answer)
    return ids, mask, labels
