from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from gateway.distill.base_models.dequantize import dequantize, load_student
from gateway.distill.base_models.graph import MODEL, Graph
from gateway.errors import TrainingError
from tests.distill.base_models.onnx_logits import logits_of

ROW = [1, 30, 40, 50, 60, 70, 2]


def test_half_bytes_are_read_lower_half_first() -> None:
    packed = np.array([[[0x21, 0x43], [0x65, 0x87]]], np.uint8)
    scales = np.array([[1.0, 0.5]], np.float32)

    centered = dequantize(packed, scales, None, 4)
    shifted = dequantize(packed, scales, np.array([[0x51]], np.uint8), 4)

    assert centered.tolist() == [[-7.0, -6.0, -5.0, -4.0, -1.5, -1.0, -0.5, 0.0]]
    assert shifted.tolist() == [[0.0, 1.0, 2.0, 3.0, 0.0, 0.5, 1.0, 1.5]]


def test_whole_bytes_lie_around_128() -> None:
    weights = dequantize(np.array([[[0, 128, 255]]], np.uint8), np.array([[2.0]], np.float32), None, 8)
    assert weights.tolist() == [[-256.0, 0.0, 254.0]]


def test_other_widths_are_refused() -> None:
    with pytest.raises(TrainingError, match="2 bits"):
        dequantize(np.zeros((1, 1, 4), np.uint8), np.ones((1, 1), np.float32), None, 2)


@pytest.mark.learn
@pytest.mark.filterwarnings("ignore")
def test_a_student_has_the_weights_that_serve(ready: Path, tmp_path: Path) -> None:
    """With float activations in the runtime, torch and ONNX compute the same."""
    import torch

    exact = Graph.load(ready / MODEL, with_weights=False)
    for node in exact.model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "accuracy_level":
                attribute.i = 1
    shutil.copy(ready / f"{MODEL}.data", tmp_path)
    exact.save(tmp_path / MODEL)

    student = load_student(ready)

    with torch.no_grad():
        ours = student(torch.tensor([ROW])).logits.numpy()
    np.testing.assert_allclose(ours, logits_of(tmp_path / MODEL, [ROW]), atol=2e-4)


@pytest.mark.learn
@pytest.mark.filterwarnings("ignore")
def test_another_architecture_is_refused(ready: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra `learn`")
    text = (ready / "config.json").read_text()
    (tmp_path / "config.json").write_text(text.replace('"model_type": "llama"', '"model_type": "gpt2"'))
    with pytest.raises(TrainingError, match="gpt2"):
        load_student(tmp_path)
