"""The torch model with exactly the weights that a converted base serves with."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.distill.base_models.graph import MODEL, FloatArray, Graph, int_attributes
from gateway.errors import TrainingError

# The builder's names beside those of transformers, below `model.layers.N.`.
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

    An adapter trained on it meets the same weights when it serves; the one difference left is the
    rounding of activations to int8 in the runtime (accuracy_level 4). Raises TrainingError for
    another architecture, or a graph that the builder did not write.
    """
    from transformers import AutoConfig, LlamaForCausalLM

    config = AutoConfig.from_pretrained(folder)
    if config.model_type != "llama":
        raise TrainingError(f"{folder} is a {config.model_type!r} model; only 'llama' can be trained")
    graph = Graph.load(folder / MODEL)
    config.tie_word_embeddings = _is_tied(graph)
    model = LlamaForCausalLM(config)
    missing = model.load_state_dict(_read_weights(graph, config), strict=False).missing_keys
    if missing := [name for name in missing if not (config.tie_word_embeddings and "lm_head" in name)]:
        raise TrainingError(f"{folder / MODEL} lacks {missing[0]}")
    return model.eval()


def dequantize(packed: npt.NDArray[np.uint8], scales: FloatArray, zeros: Any, bits: int) -> FloatArray:
    """Return the (rows, columns) weights that a MatMulNBits node computes with.

    `packed` is (rows, blocks, bytes), `scales` (rows, blocks), `zeros` (rows, bytes) packed along
    the blocks, or None for the middle of the range. Columns are padded to whole blocks.
    Source: onnxruntime, ContribOperators.md, com.microsoft.MatMulNBits.
    """
    rows, blocks = scales.shape
    values = _unpack(packed.reshape(rows, -1), bits).reshape(rows, blocks, -1).astype(np.float32)
    if zeros is None:
        middle: FloatArray = np.full((rows, blocks), 1 << (bits - 1), np.float32)
    else:
        middle = _unpack(zeros.reshape(rows, -1), bits)[:, :blocks].astype(np.float32)
    weights: FloatArray = ((values - middle[:, :, None]) * scales[:, :, None]).reshape(rows, -1)
    return weights


def _unpack(packed: npt.NDArray[np.uint8], bits: int) -> npt.NDArray[np.uint8]:
    """Return (rows, values) from (rows, bytes); the lower half of a byte comes first."""
    if bits == 8:
        return packed
    if bits != 4:
        raise TrainingError(f"weights of {bits} bits are not supported; allowed: 4, 8")
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(packed), -1)


def _is_tied(graph: Graph) -> bool:
    """Whether the embedding reads the quantized weights of the language model's head."""
    return any(name in graph.find_node(*_HEAD).input[1:] for name in graph.find_node(*_EMBEDDING).input)


def _read_weights(graph: Graph, config: Any) -> dict[str, Any]:
    """Return the state dict, tensors by transformers' names."""
    import torch

    queries, keys = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    arrays: dict[str, FloatArray] = {}
    for layer in range(config.num_hidden_layers):
        prefix = f"model.layers.{layer}."
        qkv = _read_matrix(graph, f"/model/layers.{layer}/attn/qkv_proj/")
        for name, part in zip("qkv", np.split(qkv, [queries, queries + keys]), strict=True):
            arrays[f"{prefix}self_attn.{name}_proj.weight"] = part
        for theirs, ours in _PROJECTIONS.items():
            node = f"/model/layers.{layer}/{theirs.replace('.', '/')}/"
            arrays[f"{prefix}{ours}.weight"] = _read_matrix(graph, node)
        for norm in _NORMS:
            arrays[f"{prefix}{norm}.weight"] = graph.read_weights(f"{prefix}{norm}.weight")
    last = config.num_hidden_layers
    arrays["model.norm.weight"] = graph.read_weights(f"model.layers.{last}.final_norm_layernorm.weight")
    arrays["lm_head.weight"] = _read_matrix(graph, "/lm_head/")
    tied = config.tie_word_embeddings
    embedding = (
        arrays["lm_head.weight"] if tied else graph.read_weights(graph.find_node(*_EMBEDDING).input[0])
    )
    arrays["model.embed_tokens.weight"] = embedding
    return {name: torch.from_numpy(np.array(value, np.float32)) for name, value in arrays.items()}


def _read_matrix(graph: Graph, prefix: str) -> FloatArray:
    """Return the (outputs, inputs) weights of the projection below a node name."""
    node = graph.find_node(prefix, "MatMulNBits")
    packed, scales, *zeros = [graph.read_weights(name) for name in node.input[1:] if name]
    sizes = int_attributes(node)
    weights = dequantize(packed, scales, zeros[0] if zeros else None, sizes["bits"])
    if math.prod(weights.shape) < sizes["N"] * sizes["K"]:
        raise TrainingError(
            f"{node.name} has {weights.shape} weights instead of ({sizes['N']}, {sizes['K']})"
        )
    return weights[:, : sizes["K"]]
