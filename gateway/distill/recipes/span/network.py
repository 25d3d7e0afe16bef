"""The tagger's network in torch: MiniLM with a head for words and a head for options."""

from __future__ import annotations

import importlib
import os
import warnings
from pathlib import Path
from typing import Any

import msgspec

from gateway.distill.onnx_export import export_int8
from gateway.distill.recipes.span.pretrained import find_pretrained
from gateway.distill.saved_students import SavedStudent
from gateway.errors import TrainingError
from gateway.specialists.runtimes.tagger.grammar import Grammar

_DROPOUT = 0.1


def import_torch() -> Any:
    """Return torch. Raises TrainingError without the extra `learn`."""
    # Waiting threads must sleep: beside other work a spinning pool of two made an epoch of
    # 2,000 rows last 60 to 130 s instead of 11 s. The variable is read when OpenMP is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        return importlib.import_module("torch")
    except ImportError as exc:
        raise TrainingError("training a tagger needs torch: pip install 'stepdown[learn]'") from exc


def new_network(grammar: Grammar, parent: SavedStudent | None, seed: int) -> Any:
    """Return the network for `grammar`, with the weights of `parent` as far as the grammars agree.

    It maps (batch, tokens) ids and mask to (batch, tokens, tags) and (batch, options) logits.
    The word embeddings, half of all weights, stay as they are. Raises TrainingError.
    """
    torch = import_torch()
    torch.manual_seed(seed)
    network = _create_module(torch, grammar)
    if parent is None:
        return network
    weights = dict(parent.weights)
    for head, new_names in name_outputs(grammar).items():
        old_rows = {name: row for row, name in enumerate(parent.outputs[head])}
        for part in ("weight", "bias"):
            old = weights[f"{head}.{part}"]
            new = network.state_dict()[f"{head}.{part}"].clone()
            for row, name in enumerate(new_names):
                if name in old_rows:
                    new[row] = old[old_rows[name]]
            weights[f"{head}.{part}"] = new
    network.load_state_dict(weights, strict=False)
    return network


def trained_weights(network: Any) -> dict[str, Any]:
    """Return a copy of the weights that training changes, by name."""
    return {
        name: weight.detach().clone() for name, weight in network.named_parameters() if weight.requires_grad
    }


def name_outputs(grammar: Grammar) -> dict[str, list[str]]:
    """Return by head the meanings of its rows, which do not depend on the other fields.

    Tags are BIO: O outside, B- for the first word of a span, I- for the further ones.
    """
    return {"tags": _name_tags(grammar), "options": _name_options(grammar)}


def _name_tags(grammar: Grammar) -> list[str]:
    names = ["O"]
    for field in grammar.fields:
        for mark in field.span_types:
            meaning = msgspec.json.encode((field.path, mark)).decode()
            names += [f"B-{meaning}", f"I-{meaning}"]
    return names


def _name_options(grammar: Grammar) -> list[str]:
    """Return at least one name: ONNX knows no empty outputs."""
    names = [
        msgspec.json.encode((field.path, choice)).decode()
        for field in grammar.fields
        if field.options
        for choice in (*field.choices, None)[: field.options]
    ]
    return names or ["nothing"]


def export_tagger(network: Any, path: Path) -> None:
    """Write `network` with int8 weights to `path`; batch and length stay free."""
    with warnings.catch_warnings():
        # They are about branches on lengths, which the tracer takes once; `agreement_int8` would
        # show it if that ever hurt.
        warnings.simplefilter("ignore")
        axes = {"tags": {0: "batch", 1: "tokens"}, "options": {0: "batch"}}
        export_int8(network.eval(), path, axes)


def _create_module(torch: Any, grammar: Grammar) -> Any:
    class Tagger(torch.nn.Module):  # type: ignore[misc]
        """Token ids and mask to logits."""

        def __init__(self) -> None:
            super().__init__()
            self.transformer = _pretrained(torch)
            width = self.transformer.config.hidden_size
            self.dropout = torch.nn.Dropout(_DROPOUT)
            self.tags = torch.nn.Linear(width, grammar.tags)
            self.options = torch.nn.Linear(width, len(_name_options(grammar)))

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            """Return the (batch, tokens, tags) and (batch, options) logits."""
            hidden = self.transformer(input_ids=input_ids, attention_mask=attention_mask)[0]
            mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
            # MiniLM was trained to express the meaning of a text by the mean over its tokens.
            mean = (hidden * mask).sum(1) / mask.sum(1)
            return self.tags(self.dropout(hidden)), self.options(self.dropout(mean))

    return Tagger()


def _pretrained(torch: Any) -> Any:
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    folder = find_pretrained()
    # Dropout of attention costs a quarter of the CPU and teaches less (loadtests/README.md).
    config = BertConfig.from_pretrained(folder, attention_probs_dropout_prob=0.0)
    model = BertModel(config, add_pooling_layer=False)
    # torch's own attention takes 1.4x the CPU in bf16, and its ONNX graph 1.1x per draft.
    model.set_attn_implementation("eager")
    weights = load_file(folder / "model.safetensors")
    model.load_state_dict({name: weights[name] for name in model.state_dict() if name in weights})
    model.embeddings.requires_grad_(requires_grad=False)
    return model
