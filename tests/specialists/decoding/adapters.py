"""Adapters which say nothing sensible, each something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort


def write_adapter(base: Path, path: Path, seed: int, strength: float = 0.3) -> Path:
    """Write random weights for every adapter input of the base in the folder `base`."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(base / "model.onnx"), options, providers=["CPUExecutionProvider"])
    shapes = {
        given.name: given.shape for given in session.get_overridable_initializers() if ".lora_" in given.name
    }
    assert shapes, f"{base} has no room for adapters"
    random = np.random.default_rng(seed)
    weights = {name: strength * random.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    adapter = ort.AdapterFormat()
    adapter.set_adapter_version(1)
    adapter.set_model_version(1)
    adapter.set_parameters({name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in weights.items()})
    adapter.export_adapter(str(path))
    return path
