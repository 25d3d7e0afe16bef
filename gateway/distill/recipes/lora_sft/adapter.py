"""An adapter in the form that the serving base takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

_WEIGHT = re.compile(r"layers\.(\d+)\.(?:self_attn|mlp)\.(\w+)\.lora_([AB])\.")
_JOINED = ("q_proj", "k_proj", "v_proj")
_BLOCKS = {"o_proj": "attn", "gate_proj": "mlp", "up_proj": "mlp", "down_proj": "mlp"}


def export_adapter(weights: dict[str, Any], scale: float, path: Path) -> None:
    """Write a student's `weights` to `path` as onnxruntime's adapter file."""
    import onnxruntime as ort

    adapter = ort.AdapterFormat()
    adapter.set_adapter_version(1)
    adapter.set_model_version(1)
    arrays = {name: np.ascontiguousarray(array) for name, array in convert_adapter(weights, scale).items()}
    adapter.set_parameters({name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()})
    adapter.export_adapter(str(path))


def convert_adapter(weights: dict[str, Any], scale: float) -> dict[str, Any]:
    """Return `weights` by the base's input names: A (inputs, r), B (r, outputs), float32.

    The scale is folded into B. The base holds q, k and v as one projection: their A stand side
    by side, their B on the diagonal.
    """
    parts: dict[tuple[int, str], dict[str, Any]] = {}
    for name, tensor in weights.items():
        found = _WEIGHT.search(name)
        assert found is not None, name
        layer, projection, side = int(found[1]), found[2], found[3]
        factor = scale if side == "B" else 1.0
        parts.setdefault((layer, projection), {})[side] = tensor.float().numpy().T * np.float32(factor)
    named = {}
    for layer in sorted({layer for layer, _ in parts}):
        joined = [parts[layer, projection] for projection in _JOINED]
        prefix = f"model.layers.{layer}.attn.qkv_proj"
        named[f"{prefix}.lora_A"] = np.concatenate([part["A"] for part in joined], axis=1)
        named[f"{prefix}.lora_B"] = _join_diagonally([part["B"] for part in joined])
        for projection, block in _BLOCKS.items():
            prefix = f"model.layers.{layer}.{block}.{projection}"
            named[f"{prefix}.lora_A"] = parts[layer, projection]["A"]
            named[f"{prefix}.lora_B"] = parts[layer, projection]["B"]
    return named


def _join_diagonally(blocks: list[Any]) -> Any:
    rows, columns = sum(len(block) for block in blocks), sum(block.shape[1] for block in blocks)
    whole = np.zeros((rows, columns), np.float32)
    row = column = 0
    for block in blocks:
        whole[row : row + len(block), column : column + block.shape[1]] = block
        row, column = row + len(block), column + block.shape[1]
    return whole
