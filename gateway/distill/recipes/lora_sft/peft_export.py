"""An adapter in PEFT's own form, as vLLM loads it and llama.cpp's converter reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway.distill.recipes.lora_sft.student import lora_config
from gateway.specialists.remote.adapters import WEIGHTS

_NAME_IN_TRAINING = ".default."
"""PEFT names the adapter within a weight's name while it is in a model, and leaves that out in files."""


def export_peft(weights: dict[str, Any], rank: int, base: str, folder: Path) -> None:
    """Write a student's `weights` into `folder` as adapter_model.safetensors and adapter_config.json."""
    from safetensors.torch import save_file

    named = {
        name.replace(_NAME_IN_TRAINING, "."): tensor.float().contiguous() for name, tensor in weights.items()
    }
    save_file(named, str(folder / WEIGHTS), {"format": "pt"})
    config = lora_config(rank)
    config.base_model_name_or_path = base
    config.inference_mode = True
    config.save_pretrained(str(folder))
