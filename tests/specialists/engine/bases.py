"""A tiny base, and adapters on it that write different nonsense."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from gateway.registry.models import Registry


def write_adapter(base: Path, path: Path, seed: int, strength: float = 0.3) -> Path:
    """Write random weights for every adapter input of the base in the folder `base`."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(base / "model.onnx"), options, providers=["CPUExecutionProvider"])
    shapes = {
        given.name: given.shape for given in session.get_overridable_initializers() if ".lora_" in given.name
    }
    assert shapes, f"{base} has no inputs for adapters"
    random = np.random.default_rng(seed)
    weights = {name: strength * random.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    adapter = ort.AdapterFormat()
    adapter.set_adapter_version(1)
    adapter.set_model_version(1)
    adapter.set_parameters({name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in weights.items()})
    adapter.export_adapter(str(path))
    return path


def make_models(folder: Path) -> Path:
    """Return a new folder of bases in `folder` that holds "tiny", a random one of two layers."""
    pytest.importorskip("torch", reason="needs the extra `learn`")
    from gateway.distill.base_models.pull import pull_base
    from gateway.distill.base_models.quantization import build_quantized
    from tests.distill.base_models.tiny import write_checkpoint

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checkpoint = write_checkpoint(folder / "checkpoint")
        build_quantized(checkpoint, "k_quant_mixed8", folder / "ready")
        (folder / "ready/config.json").write_bytes((checkpoint / "config.json").read_bytes())
        pull_base(str(folder / "ready"), "tiny", Registry(folder / "models"), lambda step: None)
    return folder / "models"
