from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from gateway.distill.base_models.graph import MODEL, Graph
from gateway.distill.base_models.graph_edits import add_adapters, keep_last_logits
from gateway.errors import TrainingError
from tests.distill.base_models.onnx_logits import logits_of

pytestmark = pytest.mark.learn

SHORT, LONG = [1, 30, 40], [1, 50, 60, 70, 80, 90, 100]


@pytest.fixture
def copied(ready: Path, tmp_path: Path) -> Path:
    """A copy of the model to save a changed graph over."""
    return Path(shutil.copytree(ready, tmp_path / "copied"))


def test_without_an_adapter_nothing_changes(ready: Path, copied: Path) -> None:
    graph = Graph.load(copied / MODEL, with_weights=False)

    modules = add_adapters(graph, rank=4)
    graph.save(copied / MODEL)

    assert modules == ("down_proj", "gate_proj", "o_proj", "qkv_proj", "up_proj")
    assert (logits_of(copied / MODEL, [LONG]) == logits_of(ready / MODEL, [LONG])).all()


def test_an_adapter_adds_a_low_rank_product(copied: Path) -> None:
    """The joined projection has three times the rank, and its outputs are q, k and v in a row."""
    graph = Graph.load(copied / MODEL, with_weights=False)
    add_adapters(graph, rank=4)
    graph.save(copied / MODEL)
    shapes = {
        model_input.name: tuple(size.dim_value for size in model_input.type.tensor_type.shape.dim)
        for model_input in graph.model.graph.input
        if ".lora_" in model_input.name
    }
    adapter = {name: np.full(shape, 0.1, np.float32) for name, shape in shapes.items()}

    assert shapes["model.layers.1.attn.qkv_proj.lora_A"] == (64, 12)
    assert shapes["model.layers.1.attn.qkv_proj.lora_B"] == (12, 128)
    assert shapes["model.layers.0.mlp.down_proj.lora_A"] == (128, 4)
    with_it, without = logits_of(copied / MODEL, [LONG], **adapter), logits_of(copied / MODEL, [LONG])
    assert np.abs(with_it - without).max() > 0.1


def test_adapters_are_added_once(copied: Path) -> None:
    graph = Graph.load(copied / MODEL, with_weights=False)
    add_adapters(graph, rank=4)
    with pytest.raises(TrainingError, match="adapters already"):
        add_adapters(graph, rank=4)


def test_logits_are_those_of_each_rows_end(ready: Path, copied: Path) -> None:
    """Rows of different lengths, padded on the right, get the same numbers as alone."""
    graph = Graph.load(copied / MODEL, with_weights=False)
    keep_last_logits(graph)
    graph.save(copied / MODEL)

    both = logits_of(copied / MODEL, [SHORT, LONG])

    assert both.shape[:2] == (2, 1)
    for got, row in zip(both, (SHORT, LONG), strict=True):
        np.testing.assert_allclose(got[0], logits_of(ready / MODEL, [row])[0, -1], atol=1e-5)


def test_weights_outside_the_folder_are_refused(copied: Path) -> None:
    """A model from elsewhere must not make us read, or copy, any file of this machine."""
    graph = Graph.load(copied / MODEL, with_weights=False)
    for tensor in graph.model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../../secret"
    with pytest.raises(TrainingError, match="no plain file name"):
        graph.list_side_files()
