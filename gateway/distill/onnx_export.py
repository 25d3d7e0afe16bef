"""Any sentence-transformers model as an int8 ONNX folder for `specialists/encoders/onnx_folder.py`.

Run as `python -m gateway.distill.onnx_export MODEL FOLDER`; needs the extra `learn`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.errors import TrainingError

OPSET = 18


def export_encoder(model: str, folder: Path) -> None:
    """Write `model.onnx` (int8 weights) and `tokenizer.json` of a model, by name or folder, into `folder`.

    Mean-pooling and L2 normalisation are inside the graph, so that its one output is the
    (batch, dimension) unit vector. Prompts and other poolings of the model are not kept.
    Raises TrainingError when the model cannot be expressed so.
    """
    from sentence_transformers import SentenceTransformer

    source = SentenceTransformer(model, device="cpu")
    tokenizer = source.tokenizer
    if not getattr(tokenizer, "is_fast", False):
        raise TrainingError(f"{model} has no fast tokenizer, so no tokenizer.json to serve with")
    _require_mean_pooling(model, source)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="stepdown-export-") as scratch:
        full = Path(scratch) / "full.onnx"
        _write_graph(source[0].auto_model, full)
        quantize(full, folder / "model.onnx")
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))


def _require_mean_pooling(model: str, source: Any) -> None:
    pooling = [module for module in source if type(module).__name__ == "Pooling"]
    if len(pooling) != 1 or pooling[0].pooling_mode != "mean":
        raise TrainingError(f"{model} does not pool by the mean over its tokens; only that is exported")


def _write_graph(transformer: Any, path: Path) -> None:
    """Export `transformer` with pooling; batch and length stay free."""
    import torch

    class Pooled(torch.nn.Module):  # type: ignore[misc]
        """Token ids and mask to unit vectors."""

        def __init__(self) -> None:
            super().__init__()
            self.transformer = transformer.eval()

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            """Return the (batch, dimension) unit vectors."""
            tokens = self.transformer(input_ids=input_ids, attention_mask=attention_mask)[0]
            mask = attention_mask.unsqueeze(-1).to(tokens.dtype)
            mean = (tokens * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(mean, dim=-1)

    ids = torch.ones((2, 8), dtype=torch.long)
    free = {0: "batch", 1: "tokens"}
    torch.onnx.export(
        Pooled(),
        (ids, torch.ones_like(ids)),
        str(path),
        input_names=["input_ids", "attention_mask"],
        output_names=["vector"],
        dynamic_axes={"input_ids": free, "attention_mask": free, "vector": {0: "batch"}},
        opset_version=OPSET,
        # The tracer: the newer exporter needs onnxscript, one more package for the same graph.
        dynamo=False,
    )


def quantize(full: Path, path: Path) -> None:
    """Write the ONNX model at `full` with int8 weights to `path`."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(str(full), str(path), weight_type=QuantType.QInt8, per_channel=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Export the model which the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="name or folder of a sentence-transformers model")
    parser.add_argument("folder", type=Path, help="where model.onnx and tokenizer.json go")
    options = parser.parse_args(arguments)
    export_encoder(options.model, options.folder)


if __name__ == "__main__":
    main()
