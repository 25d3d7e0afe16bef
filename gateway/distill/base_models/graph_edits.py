"""The changes that make a builder's graph a base: inputs for adapters, logits for the last token only."""

from __future__ import annotations

from typing import Any

import numpy as np

from gateway.distill.base_models.graph import Graph, int_attributes
from gateway.errors import TrainingError

# The builder joins three projections into this one; an adapter trains them apart, so the joined one
# needs three times the rank.
_JOINED, _PARTS = "qkv_proj", 3


def add_adapters(graph: Graph, rank: int) -> tuple[str, ...]:
    """Add a low-rank product to every projection of every layer; return the projections' names, sorted.

    The inputs `model.layers.N.<block>.<projection>.lora_A` (inputs, r) and `.lora_B` (r, outputs)
    are float32; r is `rank`, for the joined qkv projection three times as much. They default
    to zeros: without an adapter the model is what it was.

    Raises TrainingError when no quantized projection was found, or there are adapters already.
    """
    from onnx import helper

    nodes: list[Any] = []
    modules: set[str] = set()
    for node in graph.model.graph.node:
        nodes.append(node)
        path = node.name.split("/")[1:-1]
        if node.op_type != "MatMulNBits" or len(path) < 2 or not path[-1].endswith("_proj"):
            continue
        modules.add(path[-1])
        node_rank = rank * _PARTS if path[-1] == _JOINED else rank
        down, up = _add_inputs(graph, ".".join(path), int_attributes(node), node_rank)
        out = node.output[0]
        node.output[0] = f"{out}_base"
        nodes.append(helper.make_node("MatMul", [node.input[0], down], [f"{out}_down"]))
        nodes.append(helper.make_node("MatMul", [f"{out}_down", up], [f"{out}_up"]))
        nodes.append(helper.make_node("Add", [f"{out}_base", f"{out}_up"], [out]))
    if not modules:
        raise TrainingError("no int4 or int8 projection in the model: pull its checkpoint instead")
    graph.replace_nodes(nodes)
    return tuple(sorted(modules))


def _add_inputs(graph: Graph, name: str, sizes: dict[str, int], rank: int) -> tuple[str, str]:
    from onnx import TensorProto, helper

    shapes = {f"{name}.lora_A": (sizes["K"], rank), f"{name}.lora_B": (rank, sizes["N"])}
    known = {tensor.name for tensor in graph.model.graph.input}
    for tensor, shape in shapes.items():
        if tensor in known:
            raise TrainingError("the model has adapters already: pull the model that it was made from")
        # Both an initializer and an input: the initializer is the input's default.
        graph.add_weights(tensor, np.zeros(shape, np.float32))
        graph.model.graph.input.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, shape))
    down, up = shapes
    return down, up


def keep_last_logits(graph: Graph) -> None:
    """Compute logits only where each row ends: (batch, 1, vocabulary) at any length of the prompt.

    A row ends at the last 1 of its attention mask, so rows must be padded on the right.
    SmolLM2-135M: a fifth less time for a prompt and 200 MB less memory, the same bits.
    """
    from onnx import helper

    head = graph.find_node("/lm_head/", "MatMulNBits")
    hidden, head.input[0] = head.input[0], "last.hidden"
    for name, value in (("last.axis", [1]), ("last.one", 1)):
        graph.add_weights(name, np.array(value, np.int64))
    steps = [
        ("ReduceSum", ["attention_mask", "last.axis"], "last.tokens", {"keepdims": 0}),
        ("Sub", ["last.tokens", "last.one"], "last.position", {}),
        # After the prompt one token comes at a time, while the mask still counts all of them.
        ("Shape", ["input_ids"], "last.shape", {}),
        ("Gather", ["last.shape", "last.one"], "last.width", {}),
        ("Sub", ["last.width", "last.one"], "last.most", {}),
        ("Min", ["last.position", "last.most"], "last.index", {}),
        ("Unsqueeze", ["last.index", "last.axis"], "last.indices", {}),
        ("GatherND", [hidden, "last.indices"], "last.rows", {"batch_dims": 1}),
        ("Unsqueeze", ["last.rows", "last.axis"], "last.hidden", {}),
    ]
    new = [helper.make_node(kind, inputs, [output], **more) for kind, inputs, output, more in steps]
    nodes = list(graph.model.graph.node)
    at = next(index for index, node in enumerate(nodes) if node.name == head.name)
    graph.replace_nodes([*nodes[:at], *new, *nodes[at:]])
