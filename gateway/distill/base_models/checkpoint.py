"""A fetched model as a checkpoint that torch loads in float32."""

from __future__ import annotations

from pathlib import Path

import msgspec

from gateway.distill.base_models.base import FetchedModel
from gateway.errors import RegistryError, TrainingError

ARCHITECTURES = ("llama",)
"""Models that students can be trained on: load_student knows their weights by name."""


def unpack_checkpoint(fetched: FetchedModel, folder: Path) -> Path:
    """Return the checkpoint's folder; a GGUF file is written out into the empty `folder` first."""
    if not fetched.gguf:
        return fetched.folder
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source, file = str(fetched.folder), fetched.gguf
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=file)
    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=file, dtype=torch.float32)
    # The weights are plain floats by now, but transformers 5 would mark the checkpoint as "gguf" and
    # then refuse to save or load it.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def require_known_architecture(folder: Path) -> None:
    """Raise TrainingError for a model that cannot be trained on, RegistryError without config.json."""
    path = folder / "config.json"
    try:
        kind = msgspec.json.decode(path.read_bytes()).get("model_type")
    except (OSError, ValueError, AttributeError) as exc:
        raise RegistryError(f"{path}, which training needs, is unreadable: {exc}") from exc
    if kind not in ARCHITECTURES:
        raise TrainingError(f"{folder.name} is a {kind!r} model; allowed: {', '.join(ARCHITECTURES)}")
