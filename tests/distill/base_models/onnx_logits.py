"""The logits of an ONNX decoder for whole rows of tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

HEADS, SIZE = 2, 16


def logits_of(model: Path, rows: list[list[int]], **more: npt.NDArray[np.float32]) -> Any:
    """Return the logits for `rows`, padded on the right with token 0; `more` are further inputs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    width = max(map(len, rows))
    feed: dict[str, Any] = {
        "input_ids": np.array([row + [0] * (width - len(row)) for row in rows], np.int64),
        "attention_mask": np.array([[1] * len(row) + [0] * (width - len(row)) for row in rows], np.int64),
    }
    for model_input in session.get_inputs():
        if model_input.name.startswith("past_key_values"):
            feed[model_input.name] = np.zeros((len(rows), HEADS, 0, SIZE), np.float32)
    return session.run(["logits"], feed | more)[0]
