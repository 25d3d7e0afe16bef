"""Command: the graph that runs the packaged MiniLM in int8, 23 KB without the weights.

The packaged file holds int8 weights but casts them to float32 at load and multiplies in float32:
6 ms for 13 tokens. This graph feeds the same bytes to int8 kernels, for one text without padding:
1.5 ms. It names its weights by their place in the packaged file, so that nothing is quantized
again and nothing but this graph is shipped.

Run as `python -m gateway.distill.minilm_graph FILE`; needs the extra `learn`. The result is
`gateway/specialists/encoders/minilm_int8.onnx`, byte for byte.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.registry.files import packaged
from gateway.specialists.encoders.minilm import PACKAGE, SHA256, WEIGHTS

_LAYERS = 6
_HEADS = 12
_EPSILON = 1e-12
_OPSET, _IR_VERSION = 18, 10
_FUSED = "com.microsoft"
# The packaged graph calls a layer's matrices val_49, val_57, ...: in this order, as they are used.
_MATRICES = ("query", "key", "value", "attention.output", "intermediate", "output")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the graph where the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", type=Path, help="where the graph goes")
    options = parser.parse_args(arguments)
    options.file.write_bytes(build_graph(packaged(PACKAGE, WEIGHTS, SHA256, "run `make env`")))


def build_graph(weights: Path) -> bytes:
    """Return the serialized graph over the packaged file `weights`: `input_ids` (1, n) to `mean` (1, 384)."""
    import onnx
    from onnx import helper

    graph = _Graph(weights)
    hidden = _embed(graph)
    for layer in range(_LAYERS):
        hidden = _transform(graph, hidden, layer)
    graph.add("ReduceMean", [hidden, graph.integer("tokens_axis", 1)], "mean", keepdims=0)
    ids = helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, [1, "tokens"])
    mean = helper.make_tensor_value_info("mean", onnx.TensorProto.FLOAT, [1, graph.dimension])
    whole = helper.make_graph(graph.nodes, "minilm_int8", [ids], [mean], graph.initializers)
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_FUSED, 1)]
    model: Any = helper.make_model(whole, opset_imports=opsets, ir_version=_IR_VERSION)
    return bytes(model.SerializeToString(deterministic=True))


class _Graph:
    """Nodes and weights so far; a weight is a place in the packaged file."""

    def __init__(self, weights: Path) -> None:
        import onnx

        self._content = weights.read_bytes()
        found = onnx.load_model_from_string(self._content).graph.initializer
        self._tensors = {tensor.name: tensor for tensor in found}
        scaled = [name[:-2] for name in self._tensors if name.startswith("val_") and name.endswith("_q")]
        self.matrices = [scaled[i : i + len(_MATRICES)] for i in range(0, len(scaled), len(_MATRICES))]
        self.dimension = self._tensors[f"{scaled[0]}_q"].dims[0]
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def add(self, kind: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output; return the output's name."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], domain=domain, **attributes))
        return output

    def integer(self, name: str, value: int) -> str:
        """Add the constant (1,) `value`; return its name."""
        from onnx import TensorProto, helper

        self.initializers.append(helper.make_tensor(name, TensorProto.INT64, [1], [value]))
        return name

    def weight(self, name: str, *, is_vector: bool = False) -> str:
        """Name a tensor of the packaged file, of shape (n,) instead of (1, n) if `is_vector`."""
        from onnx import TensorProto

        source = self._tensors[name]
        shape = [max(source.dims)] if is_vector else list(source.dims)
        tensor = TensorProto(name=name, data_type=source.data_type, dims=shape)
        tensor.data_location = TensorProto.EXTERNAL
        place = {"location": WEIGHTS, "offset": self._content.index(source.raw_data)}
        for key, value in {**place, "length": len(source.raw_data)}.items():
            tensor.external_data.add(key=key, value=str(value))
        self.initializers.append(tensor)
        return name


def _embed(graph: _Graph) -> str:
    """Add the sum of word, position and type vectors, normalized. Words stay int8: 12 MB instead of 47."""
    words, places = (f"inner.embeddings.{kind}_embeddings.weight" for kind in ("word", "position"))
    for name, tensor in (("word_q", f"{words}_q"), ("word_scale", f"{words}_scale")):
        graph.add("Gather", [graph.weight(tensor), "input_ids"], name)
    graph.add("Mul", [graph.add("Cast", ["word_q"], "word_f", to=1), "word_scale"], "word")
    graph.add("Cast", [graph.weight(f"{places}_q")], "place_f", to=1)
    graph.add("Mul", ["place_f", graph.weight(f"{places}_scale")], "place")
    first = graph.integer("first", 0)
    kind = graph.add("Gather", [graph.weight("inner.embeddings.token_type_embeddings.weight"), first], "type")
    graph.add("Add", ["place", kind], "places")
    graph.add("Shape", ["input_ids"], "length", start=1, end=2)
    graph.add("Slice", ["places", first, "length"], "place_here")
    return _add_and_normalize(graph, "word", "place_here", "inner.embeddings.LayerNorm", "embedded")


def _transform(graph: _Graph, hidden: str, layer: int) -> str:
    """Add one layer; return its output."""
    names = dict(zip(_MATRICES, graph.matrices[layer], strict=True))
    prefix = f"inner.encoder.layer.{layer}"
    heads = [
        _multiply(graph, hidden, names[kind], f"{prefix}.attention.self.{kind}.bias", f"{kind}{layer}")
        for kind in ("query", "key", "value")
    ]
    attended = graph.add("MultiHeadAttention", heads, f"attended{layer}", _FUSED, num_heads=_HEADS)
    dense = f"{prefix}.attention.output.dense.bias"
    attended = _multiply(graph, attended, names["attention.output"], dense, f"mixed{layer}")
    normed = f"{prefix}.attention.output.LayerNorm"
    attended = _add_and_normalize(graph, attended, hidden, normed, f"attention{layer}")
    dense = f"{prefix}.intermediate.dense.bias"
    wide = _multiply(graph, attended, names["intermediate"], dense, f"wide{layer}")
    wide = graph.add("Gelu", [wide], f"active{layer}", _FUSED)
    narrow = _multiply(graph, wide, names["output"], f"{prefix}.output.dense.bias", f"narrow{layer}")
    return _add_and_normalize(graph, narrow, attended, f"{prefix}.output.LayerNorm", f"hidden{layer}")


def _multiply(graph: _Graph, inputs: str, matrix: str, bias: str, output: str) -> str:
    """Add `inputs` times an int8 matrix, plus bias; the inputs are quantized as they come."""
    tensors = (graph.weight(f"{matrix}_q"), graph.weight(f"{matrix}_scale", is_vector=True))
    return graph.add("DynamicQuantizeMatMul", [inputs, *tensors, "", graph.weight(bias)], output, _FUSED)


def _add_and_normalize(graph: _Graph, one: str, other: str, norm: str, output: str) -> str:
    # Not the fused SkipLayerNormalization: onnxruntime's has a scalar loop, 30 us for 13 tokens
    # where these two nodes take 8.
    added = graph.add("Add", [one, other], f"{output}_sum")
    scale = [graph.weight(f"{norm}.{part}") for part in ("weight", "bias")]
    return graph.add("LayerNormalization", [added, *scale], output, axis=-1, epsilon=_EPSILON)


if __name__ == "__main__":
    main()
