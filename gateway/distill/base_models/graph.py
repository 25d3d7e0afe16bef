"""An ONNX graph of the onnxruntime-genai builder, read by the names that the builder gives."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gateway.errors import TrainingError

MODEL = "model.onnx"

FloatArray = npt.NDArray[np.float32]


class Graph:
    """A model; its weights may lie in a file beside it."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}

    @classmethod
    def load(cls, path: Path, *, with_weights: bool = True) -> Self:
        """Return the graph of a file; without weights only its structure can be used and changed.

        Raises TrainingError when it is no ONNX model.
        """
        import onnx

        try:
            return cls(onnx.load(str(path), load_external_data=with_weights))
        except Exception as exc:  # onnx and protobuf raise errors of many kinds
            raise TrainingError(f"{path} is no readable ONNX model: {exc}") from exc

    def save(self, path: Path) -> None:
        """Write the structure; weights in files beside it stay where they are."""
        import onnx

        onnx.save(self.model, str(path))

    def find_node(self, prefix: str, *op_types: str) -> Any:
        """Return the one node of these types with a name that starts with `prefix`.

        Raises TrainingError when there is none or more than one: another tool wrote the graph.
        """
        nodes = self.model.graph.node
        found = [node for node in nodes if node.op_type in op_types and node.name.startswith(prefix)]
        if len(found) != 1:
            kind = " or ".join(op_types)
            raise TrainingError(f"{MODEL} has {len(found)} {kind} nodes instead of one named {prefix}*")
        return found[0]

    def read_weights(self, name: str) -> Any:
        """Return weights as a numpy array. Raises TrainingError for an unknown name."""
        from onnx import numpy_helper

        if name not in self._tensors:
            raise TrainingError(f"{MODEL} has no weights named {name}")
        return numpy_helper.to_array(self._tensors[name])

    def add_weights(self, name: str, array: Any) -> None:
        """Add weights that nodes may read under `name`."""
        from onnx import numpy_helper

        tensor = numpy_helper.from_array(array, name)
        self.model.graph.initializer.append(tensor)
        self._tensors[name] = tensor

    def replace_nodes(self, nodes: list[Any]) -> None:
        """Replace all nodes by `nodes`, which are in topological order."""
        kept = list(nodes)
        del self.model.graph.node[:]
        self.model.graph.node.extend(kept)

    def list_side_files(self) -> set[str]:
        """Return the names of the files that hold weights.

        Raises TrainingError for a path: a model must not reach outside its folder.
        """
        found = {
            entry.value
            for tensor in self.model.graph.initializer
            for entry in tensor.external_data
            if entry.key == "location"
        }
        if outside := [name for name in sorted(found) if PurePath(name).name != name]:
            raise TrainingError(f"{MODEL} wants weights from {outside[0]!r}, which is no plain file name")
        return found


def int_attributes(node: Any) -> dict[str, int]:
    """Return the whole-number attributes of a node."""
    return {attribute.name: attribute.i for attribute in node.attribute}
