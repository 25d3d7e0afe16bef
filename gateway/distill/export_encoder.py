"""Command: any sentence-transformers model as an int8 folder for `specialists/encoders/onnx_folder.py`.

Run as `python -m gateway.distill.export_encoder MODEL FOLDER`; needs the extra `learn`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.distill.onnx_export import export_int8
from gateway.errors import TrainingError


def main(arguments: Sequence[str] | None = None) -> None:
    """Export the model that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="name or folder of a sentence-transformers model")
    parser.add_argument("folder", type=Path, help="where model.onnx and tokenizer.json go")
    options = parser.parse_args(arguments)
    export_encoder(options.model, options.folder)


def export_encoder(model: str, folder: Path) -> None:
    """Write `model.onnx` (int8 weights) and `tokenizer.json` of a model, by name or folder, into `folder`.

    Mean-pooling and L2 normalization are inside the graph, so that its one output is the
    (batch, dimension) unit vector. Prompts and other poolings of the model are not kept.
    Raises TrainingError when the model cannot be expressed like this.
    """
    from sentence_transformers import SentenceTransformer

    source = SentenceTransformer(model, device="cpu")
    tokenizer = source.tokenizer
    if not getattr(tokenizer, "is_fast", False):
        raise TrainingError(f"{model} has no fast tokenizer, so no tokenizer.json to serve with")
    _require_mean_pooling(model, source)
    folder.mkdir(parents=True, exist_ok=True)
    export_int8(_add_pooling(source[0].auto_model), folder / "model.onnx", {"vector": {0: "batch"}})
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))


def _require_mean_pooling(model: str, source: Any) -> None:
    pooling = [module for module in source if type(module).__name__ == "Pooling"]
    if len(pooling) != 1 or pooling[0].pooling_mode != "mean":
        raise TrainingError(f"{model} does not pool by the mean over its tokens; only that is exported")


def _add_pooling(transformer: Any) -> Any:
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

    return Pooled()


if __name__ == "__main__":
    main()
