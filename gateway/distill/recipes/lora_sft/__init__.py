"""The recipe `lora_sft`: a low-rank adapter on a frozen base model."""

from gateway.distill.recipes.lora_sft.recipe import Config, create

__all__ = ["Config", "create"]
