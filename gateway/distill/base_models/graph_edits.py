"""The changes to a builder's graph without which a base could not carry students."""

from __future__ import annotations

from typing import Any

import numpy as np

from gateway.distill.base_models.graph import Graph, attributes
from gateway.errors import TrainingError

# The builder joins these three projections into one; an adapter trains them apart, so that the
# joined one needs the room of three.
_JOINED, _PARTS = "qkv_proj", 3


def add_adapters(graph: Graph, rank: int) -> tuple[str, ...]:
    """Let every projection of every layer add a low-rank product; return their names, sorted.

    The inputs `model.layers.N.<room>.<projection>.lora_A` (inputs, r) and `.lora_B` (r, outputs)
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
        room = rank * _PARTS if path[-1] == _JOINED else rank
        down, up = _declare(graph, ".".join(path), attributes(node), room)
        out = node.output[0]
        node.output[0] = f"{out}_base"
        nodes.append(helper.make_node("MatMul", [node.input[0], down], [f"{out}_down"]))
        nodes.append(helper.make_node("MatMul", [f"{out}_down", up], [f"{out}_up"]))
        nodes.append(helper.make_node("Add", [f"{out}_base", f"{out}_up"], [out]))
    if not modules:
        raise TrainingError("no int4 or int8 projection in the model: pull its checkpoint instead")
    graph.replace_nodes(nodes)
    return tuple(sorted(modules))


def _declare(graph: Graph, name: str, facts: dict[str, int], rank: int) -> tuple[str, str]:
    from onnx import TensorProto, helper

    shapes = {f"{name}.lora_A": (facts["K"], rank), f"{name}.lora_B": (rank, facts["N"])}
    known = {tensor.name for tensor in graph.model.graph.input}
    for tensor, shape in shapes.items():
        if tensor in known:
            raise TrainingError("the model has adapters already: pull what it was made from")
        # Both an initializer and an input: the former is the latter's default.
        graph.add_weights(tensor, np.zeros(shape, np.float32))
        graph.model.graph.input.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, shape))
    down, up = shapes
    return down, up


def answer_last_only(graph: Graph) -> None:
    """Compute logits only where each row ends: (batch, 1, vocabulary), whatever the prompt's length.

    A row's end is the last one in its attention mask, so rows must be padded on the right.
    SmolLM2-135M: a fifth less time for a prompt and 200 MB less memory, the same bits.
    """
    from onnx import helper

    head = graph.node("/lm_head/", "MatMulNBits")
    hidden, head.input[0] = head.input[0], "last.hidden"
    for name, value in (("last.axis", [1]), ("last.one", 1)):
        graph.add_weights(name, np.array(value, np.int64))
    steps = [
        ("ReduceSum", ["attention_mask", "last.axis"], "last.tokens", {"keepdims": 0}),
        ("Sub", ["last.tokens", "last.one"], "last.position", {}),
        # After the prompt one token comes at a time, while the mask goes on counting.
        ("Shape", ["input_ids"], "last.shape", {}),
        ("Gather", ["last.shape", "last.one"], "last.width", {}),
        ("Sub", ["last.width", "last.one"], "last.most", {}),
        ("Min", ["last.position", "last.most"], "last.index", {}),
        ("Unsqueeze", ["last.index", "last.axis"], "last.indices", {}),
        ("GatherND", [hidden, "last.indices"], "last.rows", {"batch_dims": 1}),
        ("Unsqueeze", ["last.rows", "last.axis"], "last.hidden", {}),
    ]
    fresh = [helper.make_node(kind, inputs, [output], **more) for kind, inputs, output, more in steps]
    nodes = list(graph.model.graph.node)
    place = next(index for index, node in enumerate(nodes) if node.name == head.name)
    graph.replace_nodes([*nodes[:place], *fresh, *nodes[place:]])
