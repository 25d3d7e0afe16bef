"""The torch model whose weights are exactly those which a converted base serves with."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.distill.base_models.graph import MODEL, Graph, attributes
from gateway.errors import TrainingError

FloatArray = npt.NDArray[np.float32]

# The builder's names beside those of transformers, for what lies in `model.layers.N.`.
_PROJECTIONS = {
    "attn.o_proj": "self_attn.o_proj",
    "mlp.gate_proj": "mlp.gate_proj",
    "mlp.up_proj": "mlp.up_proj",
    "mlp.down_proj": "mlp.down_proj",
}
_HEAD = ("/lm_head/", "MatMulNBits")
_EMBEDDING = ("/model/embed_tokens/", "Gather", "GatherBlockQuantized")
_NORMS = ("input_layernorm", "post_attention_layernorm")


def load_student(folder: Path) -> Any:
    """Return the `LlamaForCausalLM` (float32, eval mode) of a base's folder.

    An adapter trained on it meets the same weights when it serves; what is left is the rounding
    of activations to int8 in the runtime (accuracy_level 4). Raises TrainingError for another
    architecture or a graph which the builder did not write.
    """
    from transformers import AutoConfig, LlamaForCausalLM

    config = AutoConfig.from_pretrained(folder)
    if config.model_type != "llama":
        raise TrainingError(f"{folder} is a {config.model_type!r} model; only 'llama' can be trained")
    graph = Graph.read(folder / MODEL)
    config.tie_word_embeddings = _is_tied(graph)
    model = LlamaForCausalLM(config)
    missing = model.load_state_dict(_weights(graph, config), strict=False).missing_keys
    if missing := [name for name in missing if not (config.tie_word_embeddings and "lm_head" in name)]:
        raise TrainingError(f"{folder / MODEL} lacks {missing[0]}")
    return model.eval()


def dequantized(packed: npt.NDArray[np.uint8], scales: FloatArray, zeros: Any, bits: int) -> FloatArray:
    """Return the (rows, columns) weights which a MatMulNBits node computes with.

    `packed` is (rows, blocks, bytes), `scales` (rows, blocks), `zeros` (rows, bytes) packed along
    the blocks, or None for the middle of the range. Columns are padded to whole blocks.
    Source: onnxruntime, ContribOperators.md, com.microsoft.MatMulNBits.
    """
    rows, blocks = scales.shape
    values = _unpacked(packed.reshape(rows, -1), bits).reshape(rows, blocks, -1).astype(np.float32)
    if zeros is None:
        middle: FloatArray = np.full((rows, blocks), 1 << (bits - 1), np.float32)
    else:
        middle = _unpacked(zeros.reshape(rows, -1), bits)[:, :blocks].astype(np.float32)
    weights: FloatArray = ((values - middle[:, :, None]) * scales[:, :, None]).reshape(rows, -1)
    return weights


def _unpacked(packed: npt.NDArray[np.uint8], bits: int) -> npt.NDArray[np.uint8]:
    """Return one byte a value of (rows, bytes); the lower half of a byte comes first."""
    if bits == 8:
        return packed
    if bits != 4:
        raise TrainingError(f"weights of {bits} bits are not supported; allowed: 4, 8")
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(packed), -1)


def _is_tied(graph: Graph) -> bool:
    """Whether the embedding reads the quantized weights of the language model's head."""
    return any(name in graph.node(*_HEAD).input[1:] for name in graph.node(*_EMBEDDING).input)


def _weights(graph: Graph, config: Any) -> dict[str, Any]:
    """Return the state dict, tensors by transformers' names."""
    import torch

    sizes = [config.num_attention_heads * config.head_dim] + [
        config.num_key_value_heads * config.head_dim
    ] * 2
    arrays: dict[str, FloatArray] = {}
    for layer in range(config.num_hidden_layers):
        prefix = f"model.layers.{layer}."
        qkv = _matrix(graph, f"/model/layers.{layer}/attn/qkv_proj/")
        for name, part in zip("qkv", np.split(qkv, np.cumsum(sizes)[:-1]), strict=True):
            arrays[f"{prefix}self_attn.{name}_proj.weight"] = part
        for theirs, ours in _PROJECTIONS.items():
            node = f"/model/layers.{layer}/{theirs.replace('.', '/')}/"
            arrays[f"{prefix}{ours}.weight"] = _matrix(graph, node)
        for norm in _NORMS:
            arrays[f"{prefix}{norm}.weight"] = graph.array(f"{prefix}{norm}.weight")
    last = config.num_hidden_layers
    arrays["model.norm.weight"] = graph.array(f"model.layers.{last}.final_norm_layernorm.weight")
    arrays["lm_head.weight"] = _matrix(graph, "/lm_head/")
    tied = config.tie_word_embeddings
    embedding = arrays["lm_head.weight"] if tied else graph.array(graph.node(*_EMBEDDING).input[0])
    arrays["model.embed_tokens.weight"] = embedding
    return {name: torch.from_numpy(np.array(value, np.float32)) for name, value in arrays.items()}


def _matrix(graph: Graph, prefix: str) -> FloatArray:
    """Return the (outputs, inputs) weights of the projection below a node name."""
    node = graph.node(prefix, "MatMulNBits")
    packed, scales, *zeros = [graph.array(name) for name in node.input[1:] if name]
    facts = attributes(node)
    weights = dequantized(packed, scales, zeros[0] if zeros else None, facts["bits"])
    if math.prod(weights.shape) < facts["N"] * facts["K"]:
        raise TrainingError(
            f"{node.name} has {weights.shape} weights instead of ({facts['N']}, {facts['K']})"
        )
    return weights[:, : facts["K"]]
