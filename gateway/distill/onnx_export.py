"""A torch encoder as an ONNX model with int8 weights."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_OPSET = 18
_FREE_AXES = {0: "batch", 1: "tokens"}


def export_int8(network: Any, path: Path, outputs: Mapping[str, Mapping[int, str]]) -> None:
    """Write `network`, which takes (batch, tokens) ids and mask, to `path`.

    `outputs` has the name of each of its outputs, in their order, with the free axes. Those of the
    inputs `input_ids` and `attention_mask` are both free.
    """
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic

    ids = torch.ones((2, 8), dtype=torch.long)
    with tempfile.TemporaryDirectory(prefix="stepdown-export-") as scratch:
        full = str(Path(scratch) / "full.onnx")
        torch.onnx.export(
            network,
            (ids, torch.ones_like(ids)),
            full,
            input_names=["input_ids", "attention_mask"],
            output_names=list(outputs),
            dynamic_axes={"input_ids": _FREE_AXES, "attention_mask": _FREE_AXES, **outputs},
            opset_version=_OPSET,
            # The tracer: the newer exporter needs onnxscript, one more package for the same graph.
            dynamo=False,
        )
        quantize_dynamic(full, str(path), weight_type=QuantType.QInt8, per_channel=True)
