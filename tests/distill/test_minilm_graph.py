from __future__ import annotations

from pathlib import Path

import pytest

from gateway.distill import minilm_graph
from gateway.specialists.encoders import minilm


def test_the_graph_that_ships_is_the_one_that_the_command_makes(tmp_path: Path) -> None:
    pytest.importorskip("onnx")

    minilm_graph.main([str(tmp_path / "graph.onnx")])

    assert (tmp_path / "graph.onnx").read_bytes() == minilm.GRAPH.read_bytes()
