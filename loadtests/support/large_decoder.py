"""What a decoder with the shape of 7 B would take here: two of its layers, random int4 weights, scaled."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

WIDTH, HIDDEN, KEYS, LAYERS, VOCABULARY = 4_096, 14_336, 1_024, 32, 32_000
"""Of Mistral 7 B and its like: 7.1 billion weights in these matrices."""
BLOCK = 32
"""Weights that share a scale."""
MEASURED_LAYERS = 2
PROMPT_TOKENS, ANSWER_TOKENS = 40, 4
"""Of a label with a short instruction and message."""
TRIES = 5


class Decoder(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes: without attention, which costs little at such lengths, and without a cache."""

    shape: str
    label_ms: float
    """Reading the prompt once and writing the answer, one token after the other."""
    token_ms: float
    memory_mb: float
    """Of the weights alone."""


def measure_decoder() -> Decoder:
    """Return what the decoder takes on this machine, on all its cores."""
    layer = [(WIDTH, WIDTH), (WIDTH, KEYS), (WIDTH, KEYS), (WIDTH, WIDTH)]
    layer += [(WIDTH, HIDDEN), (WIDTH, HIDDEN), (HIDDEN, WIDTH)]
    head = [(WIDTH, VOCABULARY)]
    layer_ms = {
        tokens: _time(layer * MEASURED_LAYERS, tokens) / MEASURED_LAYERS for tokens in (1, PROMPT_TOKENS)
    }
    token_ms = LAYERS * layer_ms[1] + _time(head, 1)
    weights = LAYERS * sum(rows * columns for rows, columns in layer) + WIDTH * VOCABULARY
    return Decoder(
        shape=f"{weights / 1e9:.1f} B int4 decoder",
        label_ms=LAYERS * layer_ms[PROMPT_TOKENS] + ANSWER_TOKENS * token_ms,
        token_ms=token_ms,
        # Four bits a weight, and a float of 32 bits for each block.
        memory_mb=weights * (0.5 + 4 / BLOCK) / 2**20,
    )


def _time(shapes: list[tuple[int, int]], tokens: int) -> float:
    """Return the milliseconds, the median of some tries, in which `tokens` pass matrices of these shapes."""
    with tempfile.TemporaryDirectory(prefix="stepdown-") as folder:
        path = Path(folder) / "layers.onnx"
        onnx.save(_build(shapes), path, save_as_external_data=True)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        draw = np.random.default_rng(0)
        inputs = {
            each.name: draw.normal(size=(tokens, each.shape[1])).astype(np.float32)
            for each in session.get_inputs()
        }
        session.run(None, inputs)
        return statistics.median(_passes(session, inputs))


def _passes(
    session: onnxruntime.InferenceSession, inputs: dict[str, npt.NDArray[np.float32]]
) -> Iterator[float]:
    for _ in range(TRIES):
        begun = time.perf_counter()
        session.run(None, inputs)
        yield (time.perf_counter() - begun) * 1000


def _build(shapes: list[tuple[int, int]]) -> onnx.ModelProto:
    """Return a graph of one product per shape, beside each other: what takes time is to read the weights."""
    draw = np.random.default_rng(0)
    nodes, weights, inputs, outputs = [], [], [], []
    for number, (rows, columns) in enumerate(shapes):
        packed = draw.integers(0, 256, size=(columns, rows // BLOCK, BLOCK // 2), dtype=np.uint8)
        scales = draw.normal(size=columns * rows // BLOCK).astype(np.float32) * 0.01
        names = [f"{kind}{number}" for kind in ("x", "weights", "scales", "y")]
        weights += [numpy_helper.from_array(packed, names[1]), numpy_helper.from_array(scales, names[2])]
        inputs.append(helper.make_tensor_value_info(names[0], TensorProto.FLOAT, ["tokens", rows]))
        outputs.append(helper.make_tensor_value_info(names[3], TensorProto.FLOAT, ["tokens", columns]))
        nodes.append(
            helper.make_node(
                "MatMulNBits", names[:3], names[3:], domain="com.microsoft",
                K=rows, N=columns, bits=4, block_size=BLOCK, accuracy_level=4,
            )
        )  # fmt: skip
    graph = helper.make_graph(nodes, "layers", inputs, outputs, weights)
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=9)
