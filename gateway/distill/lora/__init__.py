"""Training a low-rank adapter on a frozen base, for the recipe `lora_sft`."""
