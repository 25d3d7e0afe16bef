from __future__ import annotations

from pathlib import Path

import pytest

from gateway.distill.base_models.quantization import build_quantized
from tests.distill.base_models.tiny import write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint; tests only read it."""
    return write_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint")


@pytest.fixture(scope="session")
def ready(checkpoint: Path) -> Path:
    """The same after the builder: 4 and 8 bits, no inputs for adapters yet. Only read."""
    folder = checkpoint.parent / "ready"
    build_quantized(checkpoint, "k_quant_mixed8", folder)
    (folder / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    return folder
